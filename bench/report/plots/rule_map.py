"""Draws the map of an export rule that `rule_map_data` describes."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullFormatter, NullLocator

from bench.report.plots import style
from bench.report.plots.frame import EDGE, WIDTH, Frame
from bench.report.plots.rule_map_data import ROW, Key, Mark, RuleMapPicture, Scale
from bench.report.plots.rule_map_data import WIDTH as MAP_WIDTH
from bench.report.plots.rule_map_labels import Label
from bench.report.plots.rule_map_places import Entry, Market, Place
from bench.report.plots.rule_map_regions import Cell, Region

# Inches: what is left of the axes; a row of the key; the axis' title below; from the axes to the list.
_LEFT, _KEY_LINE, _AXIS_TITLE, _GAP = 0.78, 0.27, 0.56, 0.22
# Likewise the list's columns from its left edge: a number's right end, a name's left one, and so on.
_NUMBER, _NAME, _TPP, _DENSITY, _PARAGRAPH = 0.15, 0.22, 2.79, 3.35, 3.42
_HIGHLIGHT: Final = style.COLOURS[1]
_TINTS: Final = (style.COLOURS[0], style.COLOURS[4], style.COLOURS[2], style.COLOURS[3])
_HATCHES: Final = ("//", "\\\\", "xx", "--")
_FILL, _HATCH = 0.12, 0.35  # how much of its colour a region's ground and hatch have
_SHIFT: Final[dict[str, Any]] = {"linestyle": (0, (5, 2, 1, 2)), "linewidth": 1.3, "color": style.INK}
_DIAGONAL: Final[dict[str, Any]] = {"linestyle": (0, (4, 3)), "linewidth": 0.9, "color": style.INK}
_SHAPES: Final = MappingProxyType[Market, str]({"data centre": "o", "other": "s", "open": "D"})
_SIZES: Final = MappingProxyType[Market, float]({"data centre": 5.5, "other": 5.0, "open": 5.5})
_AROUND: Final = 3.5  # points by which each further marker at one place is larger, to show around the others
_LARGER: Final = 3.0  # points by which a highlighted marker is larger
_TEXT_LINE: Final = 9.0  # points from one line of a label to the next
_ARROW: Final = 11  # points that an arrow reaches, right and up


def render(picture: RuleMapPicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    return style.rendered(drawn, picture, suffix)


def drawn(picture: RuleMapPicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    top = _KEY_LINE * 2
    body = top + max(picture.height + _AXIS_TITLE, ROW * (len(picture.entries) + 1) + EDGE)
    frame = Frame(title=picture.title, notes=picture.notes, body=body)
    axes = frame.axes(left=_LEFT, top=top, width=MAP_WIDTH, height=picture.height)
    _axes(axes, picture)
    for index, region in enumerate(picture.regions):
        _region(axes, region, index)
    axes.add_collection(LineCollection([*picture.shift], zorder=2.5, **_SHIFT))
    for line in picture.diagonals:
        axes.plot(*zip(line.start, line.end, strict=True), **_DIAGONAL, zorder=2)
    for place in picture.places:
        _place(axes, place)
    for label in picture.labels:
        _label(axes, label)
    for index, entry in enumerate(picture.entries):
        _entry(frame, entry, below=top + ROW * (index + 1.5))
    _head(frame, below=top + ROW / 2)
    _keys(frame, picture.key)
    return frame.figure


def _axes(axes: Axes, picture: RuleMapPicture) -> None:
    x, y = picture.x, picture.y
    axes.set(xscale="log", yscale="log", xlim=x.axis[:2], ylim=y.axis[:2])
    axes.set_xlabel(x.axis.title)
    axes.set_ylabel(y.axis.title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks([tick.value for tick in x.ticks], [tick.text for tick in x.ticks])
    axes.set_yticks([tick.value for tick in y.ticks], [tick.text for tick in y.ticks])
    for axis, scale, texts in ((axes.xaxis, x, axes.get_xticklabels()), (axes.yaxis, y, axes.get_yticklabels())):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        _bold_thresholds(texts, scale)


def _bold_thresholds(texts: Sequence[Any], scale: Scale) -> None:
    for text, tick in zip(texts, scale.ticks, strict=True):
        text.set_fontweight("bold" if tick.threshold else "normal")


def _region(axes: Axes, region: Region, index: int) -> None:
    """Fill a region as one shape, so that no seam shows, and draw its outline."""
    colour, hatch = _TINTS[index % len(_TINTS)], _HATCHES[index % len(_HATCHES)]
    shape = Path.make_compound_path(*(_rectangle(cell) for cell in region.cells))
    patch = PathPatch(
        shape, facecolor=_mixed(colour, _FILL), edgecolor=_mixed(colour, _HATCH), hatch=hatch, linewidth=0
    )
    patch.set_zorder(0.5)
    axes.add_patch(patch)
    axes.add_collection(LineCollection([*region.edges], color=colour, linewidth=1.2, zorder=1.5))


def _rectangle(cell: Cell) -> Path:
    corners = [
        (cell.left, cell.bottom),
        (cell.right, cell.bottom),
        (cell.right, cell.top),
        (cell.left, cell.top),
    ]
    return Path([*corners, corners[0]], closed=True)


def _mixed(colour: str, share: float) -> tuple[float, float, float]:
    """Return a colour mixed with white; unlike one that is see-through it looks the same in every format."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _place(axes: Axes, place: Place) -> None:
    x, y = place.at
    if place.bound:
        arrow = {"arrowstyle": "<-", "color": style.INK, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (x, y), (_ARROW, _ARROW), textcoords="offset points", arrowprops=arrow, zorder=3)
    for index, market in enumerate(place.markets):
        marks = _marks(market, highlighted=bool(place.highlighted) and index == 0)
        marks["markersize"] += _AROUND * index
        axes.plot([x], [y], **marks, zorder=4 - 0.1 * index)


def _marks(market: Market, *, highlighted: bool) -> dict[str, Any]:
    """Return how the marker of a chip looks; only one for data centres is filled."""
    colour = _HIGHLIGHT if highlighted else style.INK
    return {
        "linestyle": "",
        "marker": _SHAPES[market],
        "markersize": _SIZES[market] + (_LARGER if highlighted else 0),
        "markerfacecolor": colour if market == "data centre" else "white",
        "markeredgecolor": style.INK if highlighted and market == "data centre" else colour,
        "markeredgewidth": 1.0,
    }


def _label(axes: Axes, label: Label) -> None:
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    if label.lead is not None:
        axes.plot(
            *zip(*label.lead, strict=True), color=style.INK, linewidth=0.5, transform=axes.transAxes, zorder=3
        )
    more: dict[str, Any] = {"weight": "bold" if label.bold else "normal", "fontsize": style.SMALL_SIZE}
    lines = label.text.split("\n")
    for index, line in enumerate(lines):
        # A text of several lines would have each placed by its left end, which another font moves.
        down = _TEXT_LINE * (index - (len(lines) - 1) / 2)
        axes.annotate(
            line,
            (label.x, label.y),
            (0, -down),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=label.align,
            va="center",
            parse_math=False,
            bbox=ground,
            zorder=3.5,
            **more,
        )


def _head(frame: Frame, *, below: float) -> None:
    texts = (("TPP", _TPP, "right"), ("density", _DENSITY, "right"), ("paragraph", _PARAGRAPH, "left"))
    for text, at, align in (("chip", _NAME, "left"), *texts):
        _cell(frame, text, at, align, below=below, bold=True)


def _entry(frame: Frame, entry: Entry, *, below: float) -> None:
    bold = entry.highlighted
    _cell(frame, "–" if entry.number is None else str(entry.number), _NUMBER, "right", below=below, bold=bold)
    _cell(frame, entry.name, _NAME, "left", below=below, bold=bold)
    _cell(frame, entry.tpp, _TPP, "right", below=below, bold=bold)
    _cell(frame, entry.density, _DENSITY, "right", below=below, bold=bold)
    _cell(frame, entry.paragraph, _PARAGRAPH, "left", below=below, bold=bold)


def _cell(frame: Frame, text: str, at: float, align: str, *, below: float, bold: bool) -> None:
    left = _LEFT + MAP_WIDTH + _GAP
    weight = "bold" if bold else "normal"
    more: dict[str, Any] = {"ha": align, "va": "center", "fontsize": style.SMALL_SIZE, "weight": weight}
    frame.figure.text((left + at) / WIDTH, frame.y(below), text, parse_math=False, **more)


def _keys(frame: Frame, key: Sequence[Key]) -> None:
    """Write the key in two rows: markers, and lines."""
    markers = [one for one in key if one.mark in _SHAPES or one.mark == "bound"]
    lines = [one for one in key if one not in markers]
    for row, some in enumerate((markers, lines)):
        entries = [(_swatch(one.mark), one.text) for one in some]
        frame.key(entries, below=_KEY_LINE * (row + 0.4))


def _swatch(mark: Mark) -> dict[str, Any]:
    """Return how a line or a marker looks in the key."""
    match mark:
        case "shift":
            return dict(_SHIFT)
        case "diagonal":
            return dict(_DIAGONAL)
        case "bound":
            return {"linestyle": "", "marker": r"$\nearrow$", "markersize": 9, "color": style.INK}
        case _:
            return _marks(mark, highlighted=False)
