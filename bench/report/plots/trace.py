"""Draws the picture of one measurement that `trace_data` describes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.devices.base import Origin
from bench.report.columns import KINDS
from bench.report.plots import style
from bench.report.plots.frame import KEY_LINE, WIDTH, Frame, two_lines
from bench.report.plots.trace_data import Dot, Line, Mark, Panel, TracePicture

# Inches: what is left of the panels, and right of them, where the labels stand; the row of the regions' names,
# what is between two panels, the axis' title.
_LEFT, _RIGHT = 0.95, 2.85
_REGION_LINE, _BETWEEN, _AXIS_TITLE = 0.22, 0.16, 0.55
_LABEL_AT: Final = 0.3  # from a panel to a label
_REGION: Final = 0.08  # of the width: a region that is narrower has no room for its name
_WHOLE: Final = 4  # a longer axis, in its unit, has ticks at whole numbers only
_STROKES: Final = MappingProxyType[Mark, Mapping[str, Any]](
    {
        "median": {"color": style.COLOURS[0], "linewidth": 1.3, "linestyle": style.DASHES},
        "published": {"color": style.INK, "linewidth": 1.1, "linestyle": "-"},
        "limit": {"color": style.INK, "linewidth": 1.3, "linestyle": (0, (1, 2))},
    }
)
_SHAPES: Final = MappingProxyType[Origin, str]({"measured": "o", "replayed": "s", "simulated": "D"})
_UP, _DOWN = "^", "v"
_BAND: Final = MappingProxyType[str, Any]({"color": style.COLOURS[5], "alpha": 0.45, "linewidth": 0})


def render(picture: TracePicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    return style.rendered(drawn, picture, suffix)


def drawn(picture: TracePicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    above = KEY_LINE + _REGION_LINE
    tall = sum(panel.inches for panel in picture.panels) + _BETWEEN * (len(picture.panels) - 1)
    frame = Frame(title=picture.title, notes=picture.notes, body=above + tall + _AXIS_TITLE)
    top = above
    for panel in picture.panels:
        axes = frame.axes(left=_LEFT, top=top, width=WIDTH - _LEFT - _RIGHT, height=panel.inches)
        _panel(axes, panel, picture, last=panel is picture.panels[-1])
        if panel is picture.panels[0]:
            _regions(axes, picture, panel.inches)
        top += panel.inches + _BETWEEN
    frame.key(_key(picture), below=KEY_LINE / 2)
    return frame.figure


def _panel(axes: Axes, panel: Panel, picture: TracePicture, *, last: bool) -> None:
    axes.set(xlim=(0, picture.seconds), ylim=(panel.low, panel.high))
    axes.set_ylabel(f"{panel.name} ({panel.unit})")
    axes.yaxis.set_label_coords(-0.6 / (WIDTH - _LEFT - _RIGHT), 0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color=style.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xticks(_ticks(0, picture.seconds, most=8))
    axes.set_yticks(_ticks(panel.low, panel.high, most=6 if panel.inches > 2 else 3))
    axes.ticklabel_format(axis="both", style="plain", useOffset=False)
    axes.tick_params(axis="x", labelbottom=last)
    if last:
        axes.set_xlabel("seconds of blocks, end to end")
    if panel.band is not None:
        axes.fill_between([picture.sampled_from, picture.seconds], *panel.band, **_BAND, zorder=1.3)
    if picture.sampled_from > 0:
        axes.axvline(picture.sampled_from, color=style.PALE, linewidth=0.8, zorder=1.4)
    for line in panel.lines:
        _line(axes, line, panel, picture)
    _dots(axes, panel, picture.origin)


def _ticks(low: float, high: float, *, most: int) -> list[float]:
    """Return round numbers on an axis; the locator alone would put hidden labels beyond its ends too."""
    ticks = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=high - low >= _WHOLE).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def _dots(axes: Axes, panel: Panel, origin: Origin) -> None:
    """Draw the blocks; those outside the axis as arrows at its edge."""
    groups: dict[tuple[bool, str], list[Dot]] = {}
    for dot in panel.dots:
        shape = _SHAPES[origin] if not panel.beyond(dot) else _UP if dot.value > panel.high else _DOWN
        groups.setdefault((dot.sampled, shape), []).append(dot)
    for (sampled, shape), some in groups.items():
        heights = [min(panel.high, max(panel.low, dot.value)) for dot in some]
        axes.plot([dot.at for dot in some], heights, **_marks(shape, sampled=sampled), zorder=3, clip_on=False)


def _marks(shape: str, *, sampled: bool) -> dict[str, Any]:
    colour = style.COLOURS[0] if sampled else style.INK
    return {
        "linestyle": "",
        "marker": shape,
        "markersize": 4.4 if shape != "D" else 3.6,
        "markerfacecolor": colour if sampled else "white",
        "markeredgecolor": "white" if sampled else colour,
        "markeredgewidth": 0.3 if sampled else 0.8,
    }


def _line(axes: Axes, line: Line, panel: Panel, picture: TracePicture) -> None:
    """Draw a level, a median only where it was sampled, and write its label beside the panel."""
    at = 1 + _LABEL_AT / (WIDTH - _LEFT - _RIGHT)
    places: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    if line.drawn:
        start = picture.sampled_from if line.mark == "median" else 0
        axes.plot([start, picture.seconds], [line.value] * 2, **_STROKES[line.mark], zorder=2.5)
        level = (line.value - panel.low) / (panel.high - panel.low)
        ends = [1.003, at - 0.006]
        axes.add_line(Line2D(ends, [level, line.height], color=style.PALE, linewidth=0.6, **places))
    two_lines(axes, (at, line.height), (line.name, line.more), inches=panel.inches, size=style.SMALL_SIZE)


def _regions(axes: Axes, picture: TracePicture, inches: float) -> None:
    """Name the warm-up and the samples above the uppermost panel, where there is room."""
    until = picture.sampled_from / picture.seconds
    for name, start, end in (("warm-up", 0.0, until), ("sampled", until, 1.0)):
        if end - start >= _REGION:
            y = 1 + 0.05 / inches
            axes.text((start + end) / 2, y, name, ha="center", va="bottom", transform=axes.transAxes,
                      fontsize=style.SMALL_SIZE)  # fmt: skip


def _key(picture: TracePicture) -> Sequence[tuple[Mapping[str, Any], str]]:
    shape, whose = _SHAPES[picture.origin], KINDS[picture.origin]
    entries: list[tuple[Mapping[str, Any], str]] = []
    if any(not dot.sampled for panel in picture.panels for dot in panel.dots):
        entries.append((_marks(shape, sampled=False), "block of the warm-up"))
    entries.append((_marks(shape, sampled=True), f"sampled block, {whose}"))
    if picture.panels[0].band is not None:
        entries.append(({**_BAND, "linewidth": 7, "solid_capstyle": "butt"}, "95 % interval of the median"))
    return entries
