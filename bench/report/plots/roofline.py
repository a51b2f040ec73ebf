"""Draws the picture of rooflines that `roofline_data` describes."""

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from bench.report.plots import style
from bench.report.plots.axis import Axis
from bench.report.plots.frame import KEY_LINE, WIDTH, Frame, two_lines
from bench.report.plots.layout import label_places
from bench.report.plots.roofline_data import Dot, Label, Line, Mark, RooflinePicture
from bench.units import format_si

# Inches: what is left of the axes, and right of them, where the labels stand; the axis' title.
_LEFT, _RIGHT = 1.15, 4.0
_AXIS_TITLE: Final = 0.62
_THIN, _THICKER = 1.7, 2.0  # points: a line, and what is added for each that lies upon it
_LARGER: Final = 1.4  # likewise a marker
_MOST_UPON: Final = 3


def render(picture: RooflinePicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    return style.rendered(drawn, picture, suffix)


def drawn(picture: RooflinePicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    body = KEY_LINE + picture.height + _AXIS_TITLE
    frame = Frame(title=picture.title, notes=picture.notes, body=body)
    width = WIDTH - _LEFT - _RIGHT
    axes = frame.axes(left=_LEFT, top=KEY_LINE, width=width, height=picture.height)
    _axes(axes, picture)
    for line in picture.lines:
        _line(axes, line, picture)
    _dots(axes, picture.dots, last=picture.lines[-1].side)
    for label in picture.labels:
        _label(axes, label, picture.y, (width, picture.height))
    frame.key([(_swatch(one.mark), one.text) for one in picture.key], below=KEY_LINE / 2)
    return frame.figure


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
        "linestyle": "-" if line.published else style.DASHES,
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
    at, end, words = label_places(width)
    line = label.line
    places: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    start = y.share(line.roof.peak.rate)
    axes.add_line(Line2D([1, at - 0.005], [start, label.height], color=style.PALE, linewidth=0.6, **places))
    axes.add_line(Line2D([at, end], [label.height] * 2, **_stroke(line, 0), **places))
    axes.add_line(Line2D([(at + end) / 2], [label.height], **_marks("ridge", line.side), **places))
    texts = (label.name, label.figures)
    two_lines(axes, (words, label.height), texts, inches=height, size=style.TEXT_SIZE)


def _swatch(mark: Mark) -> dict[str, Any]:
    """Return how a line or a marker of no side in particular looks."""
    if mark in {"solid", "dashed"}:
        return {"linestyle": "-" if mark == "solid" else style.DASHES, "color": style.INK, "linewidth": _THIN}
    return _marks(mark, None)
