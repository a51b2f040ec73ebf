"""Where the words of a drawn picture are, and that all of them can be read."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.report.plots import style
from bench.report.plots.layout import Box

_P = TypeVar("_P")
_WIDE, _HIGH = 0.98, 0.8  # of a text's box, which no other may touch: around letters there is some air


def words_of(draw: Callable[[_P], Figure], picture: _P) -> tuple[list[tuple[str, Box]], Figure]:
    """Return every text that is to be seen in a drawn picture, with its place in pixels, and the figure."""
    with style.applied():
        figure = draw(picture)
        figure.draw(FigureCanvasAgg(figure).get_renderer())  # type: ignore[no-untyped-call] # matplotlib's
        texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]
        shown = [text for text in texts if text.get_visible()]
        return [(text.get_text(), Box(*map(float, text.get_window_extent().extents))) for text in shown], figure


def assert_all_inside(words: Sequence[tuple[str, Box]], figure: Figure) -> None:
    """No text is cut off at an edge of the figure."""
    whole = Box(*map(float, figure.bbox.extents))
    for text, box in words:
        assert whole.holds(box), text


def assert_apart_and_inside(words: Sequence[tuple[str, Box]], figure: Figure) -> None:
    """No two texts overlap, and none is cut off at an edge of the figure."""
    inner = [(text, _inner(box)) for text, box in words]
    for (one, a), (other, b) in combinations(inner, 2):
        assert not a.overlaps(b), (one, other)
    assert_all_inside(words, figure)


def _inner(box: Box) -> Box:
    x, y = (1 - _WIDE) / 2 * (box.right - box.left), (1 - _HIGH) / 2 * (box.top - box.bottom)
    return Box(box.left + x, box.bottom + y, box.right - x, box.top - y)
