"""What is around a picture: its title above, its notes below, and the axes between, in inches."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.plots import style

WIDTH: Final = 11.7  # inches, of every picture
EDGE: Final = 0.14
KEY_LINE: Final = 0.34  # likewise, of a key in one row above the axes
_TITLE_LINE, _NOTE_LINE = 0.27, 0.17
_TITLE_WIDTH, _NOTE_WIDTH = 90, 165  # characters
_SWATCH, _LETTER, _APART = 0.3, 0.066, 0.25  # inches of the key: a line, a letter, what is between two entries
_FROM_MIDDLE: Final = 0.015  # inches, from a label's middle to each of its two lines


class Frame:
    """A figure with its title and notes written, and `body` inches of height between them for axes and a key.

    `figure` is drawn in whatever style is in use.
    """

    def __init__(self, *, title: str, notes: Sequence[str], body: float) -> None:
        lines = evenly(title)
        under = [line for note in notes for line in textwrap.wrap(note, _NOTE_WIDTH)]
        self._bottom = EDGE + _NOTE_LINE * len(under)
        self._body = body
        self.height = self._bottom + body + EDGE + _TITLE_LINE * len(lines)
        self.figure = Figure(figsize=(WIDTH, self.height))
        left = EDGE / WIDTH
        self._text("\n".join(lines), left, 1 - EDGE / self.height, size=style.TITLE_SIZE, weight="bold")
        self._text("\n".join(under), left, self._bottom / self.height, size=style.SMALL_SIZE)

    def axes(self, *, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes whose left edge is `left` from the figure's and whose upper one `top` below the body's."""
        return self.figure.add_axes((left / WIDTH, self.y(top + height), width / WIDTH, height / self.height))

    def y(self, below: float) -> float:
        """Return the height, as a share of the figure's, of what is `below` inches under the body's upper edge."""
        return (self._bottom + self._body - below) / self.height

    def key(self, entries: Sequence[tuple[Mapping[str, Any], str]], *, below: float) -> None:
        """Write what lines and markers mean, from left to right in one row `below` the body's upper edge.

        Each has the properties of matplotlib's Line2D: with a marker it is that alone, else a short line.
        """
        x, y = EDGE, self.y(below)
        for properties, text in entries:
            ends = [x / WIDTH, (x + _SWATCH) / WIDTH]
            at = [sum(ends) / 2] if "marker" in properties else ends
            self.figure.add_artist(Line2D(at, [y] * len(at), transform=self.figure.transFigure, **properties))
            self.figure.text(ends[1] + 0.005, y, text, va="center", fontsize=style.SMALL_SIZE, parse_math=False)
            x += _SWATCH + _LETTER * len(text) + _APART

    def _text(self, text: str, x: float, y: float, **more: Any) -> None:  # noqa: ANN401 - as matplotlib's
        self.figure.text(x, y, text, ha="left", va="top", linespacing=1.25, parse_math=False, **more)


def two_lines(axes: Axes, at: tuple[float, float], lines: tuple[str, str], *, inches: float, size: float) -> None:
    """Write a label: a bold line of this size, and a small one under it.

    Between their left ends is `at`, in shares of the axes, which are so many inches high.
    """
    (x, y), (name, figures), above = at, lines, _FROM_MIDDLE / inches
    upper: dict[str, Any] = {"va": "bottom", "fontsize": size, "weight": "bold"}
    lower: dict[str, Any] = {"va": "top", "fontsize": style.SMALL_SIZE}
    axes.text(x, y + above, name, parse_math=False, transform=axes.transAxes, **upper)
    axes.text(x, y - above, figures, parse_math=False, transform=axes.transAxes, **lower)


def evenly(title: str) -> list[str]:
    """Return as few lines as hold a title, of about one length."""
    wrapped = {
        width: textwrap.wrap(title, width, break_long_words=False)
        for width in range(_TITLE_WIDTH // 2, _TITLE_WIDTH + 1)
    }
    return next(lines for lines in wrapped.values() if len(lines) == len(wrapped[_TITLE_WIDTH]))
