"""Draws the picture of rates over sizes that `sweep_data` describes."""

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from bench.report.plots import style
from bench.report.plots.frame import KEY_LINE, Frame, two_lines
from bench.report.plots.layout import label_places
from bench.report.plots.names import rate_text
from bench.report.plots.sweep_data import Label, Mark, SweepPicture
from bench.report.plots.sweep_places import ACROSS, MARKER
from bench.report.plots.sweep_series import SeriesMark

_LEFT, _AXIS_TITLE = 1.15, 0.62  # inches: what is left of the axes, and their title below
_LINE, _BAR = 1.7, 1.1  # points
_DASH_DOTS: Final = (0, (7, 2, 1.5, 2))
_DOTS: Final = (0, (1, 2))
_POINTS: Final = 72  # an inch


def render(picture: SweepPicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    return style.rendered(drawn, picture, suffix)


def drawn(picture: SweepPicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    body = KEY_LINE + picture.height + _AXIS_TITLE
    frame = Frame(title=picture.title, notes=picture.notes, body=body)
    axes = frame.axes(left=_LEFT, top=KEY_LINE, width=ACROSS, height=picture.height)
    _axes(axes, picture)
    for peak in picture.peaks:
        axes.plot(picture.x[:2], [peak] * 2, **_peak(), zorder=2)
    for bar in picture.bars:
        _bar(axes, _across(picture, bar.series, bar.size), bar.interval, style.look(bar.series).colour)
    for index, one in enumerate(picture.series):
        across = [_across(picture, index, point.size) for point in one.points]
        axes.plot(
            across,
            [point.rate.rate for point in one.points],
            **_series(index, one.mark),
            clip_on=False,
            zorder=4,
        )
    for label in picture.labels:
        _label(axes, label, picture)
    frame.key([(_swatch(one.mark), one.text) for one in picture.key], below=KEY_LINE / 2)
    return frame.figure


def _axes(axes: Axes, picture: SweepPicture) -> None:
    axes.set_xscale("log", base=2)
    axes.set(xlim=picture.x[:2], ylim=(0, picture.top))
    axes.set_xlabel(picture.x.title, parse_math=False)
    axes.set_ylabel(picture.y_title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="major", color=style.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xticks(picture.x.ticks, [str(tick) for tick in picture.x.ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    marked = MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]).tick_values(0, picture.top)
    ticks = [float(tick) for tick in marked if 0 <= tick <= picture.top]
    axes.set_yticks(ticks, [rate_text(tick, picture.unit) for tick in ticks])


def _across(picture: SweepPicture, series: int, size: int) -> float:
    return picture.x.shifted(size, picture.shifts.get((series, size), 0.0))


def _bar(axes: Axes, across: float, ends: tuple[float, float], colour: str) -> None:
    """Draw an interval with its ends; what is beyond the axes is cut there."""
    caps: dict[str, Any] = {"marker": "_", "markersize": MARKER * _POINTS, "markeredgewidth": _BAR}
    axes.plot([across] * 2, [*ends], color=colour, linewidth=_BAR, **caps, zorder=3)


def _peak() -> dict[str, Any]:
    """Return how a sheet's peak looks: of no side's colour, as several may have it."""
    return {"color": style.INK, "linewidth": 1.2, "linestyle": _DASH_DOTS, "dash_capstyle": "butt"}


def _series(index: int | None, mark: SeriesMark) -> dict[str, Any]:
    """Return how a series of a number, or of the key, looks."""
    colour, marker = (style.INK, "o") if index is None else style.look(index)
    filled = mark == "filled"
    return {
        "color": colour,
        "linewidth": _LINE,
        "linestyle": {"filled": "-", "half": _DOTS, "hollow": style.DASHES}[mark],
        "marker": marker,
        "markersize": MARKER * _POINTS,
        "fillstyle": "left" if mark == "half" else "full",
        "markerfacecolor": "white" if mark == "hollow" else colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": "white" if filled else colour,
        "markeredgewidth": 0.5 if filled else 1.1,
    }


def _label(axes: Axes, label: Label, picture: SweepPicture) -> None:
    """Write a label, and lead from what it is of to it; all in shares of the axes."""
    at, end, words = label_places(ACROSS)
    x, y = picture.x.share(label.at[0]), label.at[1] / picture.top
    places: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    leader: dict[str, Any] = {"color": style.PALE, "linewidth": 0.8, "linestyle": _DOTS, "zorder": 1}
    axes.add_line(Line2D([x, 1, at - 0.005], [y, y, label.height], **leader, **places))
    swatch: dict[str, Any] = {**_look(label, picture), "markevery": [1]}
    axes.add_line(Line2D([at, (at + end) / 2, end], [label.height] * 3, **swatch, **places))
    texts = (label.name, label.figures)
    two_lines(axes, (words, label.height), texts, inches=picture.height, size=style.TEXT_SIZE)


def _look(label: Label, picture: SweepPicture) -> dict[str, Any]:
    """Return how that looks which a label is of."""
    if label.series is None:
        return _peak()
    return _series(label.series, picture.series[label.series].mark)


def _swatch(mark: Mark) -> dict[str, Any]:
    """Return how a line or a marker of no side in particular looks."""
    if mark == "peak":
        return _peak()
    if mark == "bar":
        return {"marker": "|", "linestyle": "", "color": style.INK, "markersize": 11, "markeredgewidth": _BAR}
    return {**_series(None, mark), "linestyle": ""}
