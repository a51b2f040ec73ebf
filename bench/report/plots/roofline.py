"""Draws the picture of rooflines that `roofline_data` describes."""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from bench.report.plots import style
from bench.report.plots.roofline_data import Axis, Dot, Key, Label, Line, Mark, RooflinePicture
from bench.units import format_si

# Inches: the figure's width, what is left of the axes, and right of them, where the labels stand.
_WIDTH, _LEFT, _RIGHT = 11.7, 1.15, 4.0
_TITLE_LINE, _KEY_LINE, _NOTE_LINE = 0.27, 0.34, 0.17
_EDGE, _AXIS_TITLE = 0.14, 0.62
_TITLE_WIDTH, _NOTE_WIDTH = 90, 165  # characters
_LABEL_AT, _SWATCH = 0.28, 0.36  # inches from the axes to a label's swatch, and its length
_THIN, _THICKER = 1.7, 2.0  # points: a line, and what is added for each that lies upon it
_LARGER: Final = 1.4  # likewise a marker
_MOST_UPON: Final = 3
_DASHES: Final = (0, (4, 2))
_BESIDE_KEY: Final = 0.3
_APART: Final = 0.015  # inches, between a label's middle and each of its lines


def render(picture: RooflinePicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    with style.applied():
        return style.saved(drawn(picture), suffix)


def drawn(picture: RooflinePicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    title = _evenly(picture.title)
    notes = [line for note in picture.notes for line in textwrap.wrap(note, _NOTE_WIDTH)]
    top = _EDGE + _TITLE_LINE * len(title) + _KEY_LINE
    bottom = _EDGE + _NOTE_LINE * len(notes) + _AXIS_TITLE
    height = top + picture.height + bottom
    figure = Figure(figsize=(_WIDTH, height))
    width = _WIDTH - _LEFT - _RIGHT
    axes = figure.add_axes((_LEFT / _WIDTH, bottom / height, width / _WIDTH, picture.height / height))
    _axes(axes, picture)
    for line in picture.lines:
        _line(axes, line, picture)
    _dots(axes, picture.dots, last=picture.lines[-1].side)
    for label in picture.labels:
        _label(axes, label, picture.y, (width, picture.height))
    _text(figure, "\n".join(title), _EDGE / _WIDTH, 1 - _EDGE / height, size=style.TITLE_SIZE, weight="bold")
    _text(
        figure, "\n".join(notes), _EDGE / _WIDTH, (_EDGE + _NOTE_LINE * len(notes)) / height, size=style.SMALL_SIZE
    )
    _key(figure, picture.key, 1 - (top - _KEY_LINE / 2) / height)
    return figure


def _evenly(title: str) -> list[str]:
    """Return as few lines as hold a title, of about one length."""
    wrapped = {
        width: textwrap.wrap(title, width, break_long_words=False)
        for width in range(_TITLE_WIDTH // 2, _TITLE_WIDTH + 1)
    }
    return next(lines for lines in wrapped.values() if len(lines) == len(wrapped[_TITLE_WIDTH]))


def _text(figure: Figure, text: str, x: float, y: float, **more: Any) -> None:  # noqa: ANN401 - as matplotlib's
    figure.text(x, y, text, ha="left", va="top", linespacing=1.25, parse_math=False, **more)


def _axes(axes: Axes, picture: RooflinePicture) -> None:
    axes.set(xscale="log", yscale="log", xlim=picture.x[:2], ylim=picture.y[:2])
    axes.set_xlabel(picture.x.title)
    axes.set_ylabel(picture.y.title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="major", color=style.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xticks(picture.x.ticks, [f"{tick:,.10g}" for tick in picture.x.ticks])
    axes.set_yticks(picture.y.ticks, [format_si(tick, picture.unit, digits=1) for tick in picture.y.ticks])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())


def _line(axes: Axes, line: Line, picture: RooflinePicture) -> None:
    """Draw both parts of a roof, broader where others lie upon it, and its ridge."""
    x, y = line.ridge
    left = (picture.x.low, line.roof.ceiling(picture.x.low))
    for start, end, over in ((left, (x, y), line.over_slope), ((x, y), (picture.x.high, y), line.over_peak)):
        axes.plot([start[0], end[0]], [start[1], end[1]], **_stroke(line, over), zorder=2)
    colour = style.look(line.side).colour
    axes.plot([x, x], [picture.y.low, y], color=colour, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    axes.plot([x], [y], **_marks("ridge", line.side), zorder=3)


def _dots(axes: Axes, dots: Sequence[Dot], last: int) -> None:
    """Draw the products, larger where those of more sides may lie upon them."""
    groups: dict[tuple[int, bool], list[Dot]] = {}
    for dot in dots:
        groups.setdefault((dot.side, dot.filled), []).append(dot)
    for (side, filled), some in groups.items():
        marks = _marks("filled" if filled else "hollow", side)
        marks["markersize"] += _LARGER * min(last - side, _MOST_UPON)
        axes.plot([dot.intensity for dot in some], [dot.rate for dot in some], **marks, zorder=4)


def _stroke(line: Line, over: int) -> dict[str, Any]:
    width = _THIN + _THICKER * min(over, _MOST_UPON)
    return {
        "color": style.look(line.side).colour,
        "linewidth": width,
        "linestyle": "-" if line.published else _DASHES,
        "dash_capstyle": "butt",
        "solid_capstyle": "butt",
    }


def _marks(mark: Mark, side: int | None) -> dict[str, Any]:
    """Return how a marker of a side, or of the key, looks."""
    colour, marker = (style.INK, "o") if side is None else style.look(side)
    return {
        "linestyle": "",
        "marker": marker,
        "markersize": 7 if mark == "ridge" else 6,
        "fillstyle": "bottom" if mark == "ridge" else "full",
        "markerfacecolor": "white" if mark == "hollow" else colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": "white" if mark == "filled" else colour,
        "markeredgewidth": 0.5 if mark == "filled" else 1.1,
    }


def _label(axes: Axes, label: Label, y: Axis, inches: tuple[float, float]) -> None:
    """Write a label, and lead from the line's end to it; all in shares of the axes, so many inches large."""
    width, height = inches
    at, end, after = (1 + inch / width for inch in (_LABEL_AT, _LABEL_AT + _SWATCH, _LABEL_AT + _SWATCH + 0.08))
    line, above = label.line, _APART / height
    places: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    start = y.share(line.roof.peak.rate)
    axes.add_line(Line2D([1, at - 0.005], [start, label.height], color=style.PALE, linewidth=0.6, **places))
    axes.add_line(Line2D([at, end], [label.height] * 2, **_stroke(line, 0), **places))
    axes.add_line(Line2D([(at + end) / 2], [label.height], **_marks("ridge", line.side), **places))
    name: dict[str, Any] = {"va": "bottom", "fontsize": style.TEXT_SIZE, "weight": "bold"}
    figures: dict[str, Any] = {"va": "top", "fontsize": style.SMALL_SIZE}
    axes.text(after, label.height + above, label.name, parse_math=False, transform=axes.transAxes, **name)
    axes.text(after, label.height - above, label.figures, parse_math=False, transform=axes.transAxes, **figures)


def _key(figure: Figure, key: Sequence[Key], y: float) -> None:
    """Write what lines and markers mean, from left to right in one row."""
    x = _EDGE
    for one in key:
        ends = [x / _WIDTH, (x + _BESIDE_KEY) / _WIDTH]
        places: dict[str, Any] = {"transform": figure.transFigure}
        if one.mark in {"solid", "dashed"}:
            places["linestyle"] = "-" if one.mark == "solid" else _DASHES
            figure.add_artist(Line2D(ends, [y, y], color=style.INK, linewidth=_THIN, **places))
        else:
            figure.add_artist(Line2D([sum(ends) / 2], [y], **_marks(one.mark, None), **places))
        figure.text(ends[1] + 0.005, y, one.text, va="center", fontsize=style.SMALL_SIZE, parse_math=False)
        x += _BESIDE_KEY + 0.066 * len(one.text) + 0.25
