"""Draws the picture of a cut that `cut_data` describes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bench.report.plots import style
from bench.report.plots.cut_data import Bar, CutPicture, Row
from bench.report.plots.frame import EDGE, WIDTH, Frame
from bench.report.view import capital

# All in inches, from the upper left corner of what is drawn.
_LINE, _BETWEEN, _HEADING = 0.15, 0.1, 0.26  # a bar's line, what is between two figures, a heading
_THICK, _SHORTEST = 0.11, 0.025  # a bar, and what is seen of the shortest beside the line at 1×
_INDENT, _GAP = 0.12, 0.07
_NAME_LETTER, _LETTER = 0.075, 0.066  # widths of a letter of a name and of a value
_BASE_LINE, _AXIS_TITLE = 0.26, 0.6
_KEY_LINE, _SWATCH, _MARK, _APART = 0.24, 0.34, 0.2, 0.3
_HATCHES: Final = ("", "/////", ".....", "xxxxx", "-----", "|||||")
_BAND: Final = "#f5f5f5"


class _Place(NamedTuple):
    """Where the axis of ratios begins and how long it is, and the upper edge of each row."""

    left: float
    length: float
    tops: Sequence[float]
    height: float

    def x(self, picture: CutPicture, ratio: float) -> float:
        return self.left + self.length * picture.scale.share(ratio)


def render(picture: CutPicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    return style.rendered(drawn, picture, suffix)


def drawn(picture: CutPicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    place = _place(picture)
    key = [*_key_places(picture.others)] if len(picture.others) > 1 else []
    above = _KEY_LINE * (1 + key[-1][1] if key else 0) + _BASE_LINE
    frame = Frame(title=picture.title, notes=picture.notes, body=above + place.height + _AXIS_TITLE)
    axes = frame.axes(left=EDGE, top=above, width=WIDTH - 2 * EDGE, height=place.height)
    axes.set(xlim=(0, WIDTH - 2 * EDGE), ylim=(place.height, 0))
    _axis(axes, picture, place)
    for index, row in enumerate(picture.rows):
        _row(axes, picture, place, index)
        if index == 0 or picture.rows[index - 1].heading != row.heading:
            text = capital(row.heading)
            _text(axes, 0, place.tops[index] - _HEADING / 2 + 0.02, text, weight="bold", fontsize=style.TEXT_SIZE)
    for index, (x, line) in enumerate(key):
        _key(axes, picture.others[index], index, x, _KEY_LINE * (line + 0.5) - above)
    return frame.figure


def _place(picture: CutPicture) -> _Place:
    def room(*changes: str) -> float:
        texts = [bar.text for row in picture.rows for bar in row.bars if bar.change in changes]
        return _LETTER * max(map(len, texts), default=0) + 2 * _GAP

    names = _INDENT + _NAME_LETTER * max(len(row.name) for row in picture.rows)
    left = names + room("cut")
    tops, y = [], 0.0
    for index, row in enumerate(picture.rows):
        if index == 0 or picture.rows[index - 1].heading != row.heading:
            y += _HEADING
        tops.append(y)
        y += _height(row)
    return _Place(left, WIDTH - 2 * EDGE - left - room("kept", "more"), tops, y + _BETWEEN / 2)


def _height(row: Row) -> float:
    return _LINE * len(row.bars) + _BETWEEN


def _axis(axes: Axes, picture: CutPicture, place: _Place) -> None:
    """Draw the marks of the axis, what 1× means, and no frame."""
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
    ticks = [place.x(picture, tick) for tick in picture.scale.ticks]
    axes.set_xticks(ticks, [f"{tick:,.10g}×" for tick in picture.scale.ticks])
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0)
    axes.vlines(ticks, 0, place.height, color=style.GRID, linewidth=0.8, zorder=1)
    axes.vlines(place.x(picture, 1), 0, place.height, color=style.INK, linewidth=1.2, zorder=4)
    below = place.height + _AXIS_TITLE - 0.18
    _text(axes, place.left + place.length / 2, below, picture.axis, ha="center", fontsize=style.TEXT_SIZE)
    half = _LETTER * len(picture.base) / 2
    middle = min(max(place.x(picture, 1), half), WIDTH - 2 * EDGE - half)
    _text(axes, middle, -_BASE_LINE / 2 + 0.03, picture.base, ha="center")


def _row(axes: Axes, picture: CutPicture, place: _Place, index: int) -> None:
    row, top = picture.rows[index], place.tops[index]
    if index % 2:
        band = Rectangle((0, top), WIDTH - 2 * EDGE, _height(row), facecolor=_BAND, linewidth=0, zorder=0)
        axes.add_patch(band)
    _text(axes, _INDENT, top + _height(row) / 2, row.name, fontsize=style.TEXT_SIZE)
    for line, bar in enumerate(row.bars):
        _bar(
            axes,
            bar,
            (place.x(picture, 1), place.x(picture, bar.ratio)),
            top + _BETWEEN / 2 + _LINE * (line + 0.5),
        )


def _bar(axes: Axes, bar: Bar, ends: tuple[float, float], y: float) -> None:
    """Draw a bar from 1× to its ratio, or a marker at 1× where nothing changed, and write its value at its end."""
    base, end = ends
    if bar.change == "kept":
        axes.plot([base], [y], **_marker(bar.other), zorder=5)
        _text(axes, base + _MARK / 2 + 0.01, y, bar.text)
        return
    less = bar.change == "cut"
    end = min(end, base - _SHORTEST) if less else max(end, base + _SHORTEST)
    _box(axes, bar.other, (base, end), y)
    _text(axes, end - _GAP if less else end + _GAP, y, bar.text, ha="right" if less else "left")


def _box(axes: Axes, other: int, ends: tuple[float, float], y: float) -> None:
    """Draw a box in the colour and with the hatch of one of the others, and an edge that no hatch breaks."""
    at, width, colour = (min(ends), y - _THICK / 2), abs(ends[1] - ends[0]), _look(other).colour
    more: dict[str, Any] = {"clip_on": False, "zorder": 3}
    hatched: dict[str, Any] = {"hatch": _HATCHES[other], "edgecolor": "white"} if _HATCHES[other] else {}
    axes.add_patch(Rectangle(at, width, _THICK, facecolor=colour, linewidth=0, **hatched, **more))
    axes.add_patch(Rectangle(at, width, _THICK, fill=False, edgecolor=colour, linewidth=0.8, **more))


def _look(other: int) -> style.Look:
    """Return how one of the others looks: as in the pictures in which the chip itself is the first."""
    return style.look(other + 1)


def _marker(other: int) -> dict[str, Any]:
    colour, marker = _look(other)
    return {
        "color": colour,
        "marker": marker,
        "markersize": 6.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _text(axes: Axes, x: float, y: float, text: str, **more: Any) -> None:  # noqa: ANN401 - as matplotlib's
    axes.text(x, y, text, **{"va": "center", "fontsize": style.SMALL_SIZE, "parse_math": False, **more})


def _key_places(names: Sequence[str]) -> Iterator[tuple[float, int]]:
    """Yield where each entry of the key begins, and in which line: as many in one as it has room for."""
    x, line = 0.0, 0
    for name in names:
        width = _SWATCH + _MARK + _LETTER * len(_key_text(name)) + _APART
        if x and x + width > WIDTH - 2 * EDGE:
            x, line = 0.0, line + 1
        yield x, line
        x += width


def _key_text(name: str) -> str:
    return f"beside the {name}"


def _key(axes: Axes, name: str, index: int, x: float, y: float) -> None:
    """Draw the bar and the marker of one of the others, with its name."""
    _box(axes, index, (x, x + _SWATCH), y)
    axes.add_line(Line2D([x + _SWATCH + _MARK / 2], [y], **_marker(index), linestyle="", clip_on=False))
    _text(axes, x + _SWATCH + _MARK, y, _key_text(name))
