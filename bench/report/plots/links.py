"""Draws the picture of copies between devices that `links_data` describes."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.plots import style
from bench.report.plots.frame import EDGE, KEY_LINE, WIDTH, Frame
from bench.report.plots.links_data import Field, LinksPicture, Panel, Scale
from bench.report.view import percent

# All in inches.
_LEFT, _TOP, _BOTTOM = 0.52, 0.5, 0.12  # beside a panel, above it (its title and whom it is to), below it
_WIDEST, _HEIGHT, _APART = 0.62, 0.42, 0.3  # a field, and what is between two panels
_BAR, _BAR_HEIGHT = 2.6, 0.14  # the scale
_TICK: Final = 0.16  # below the scale, its numbers
_MOST_BESIDE: Final = 8  # columns of each of two panels that stand side by side
_MIDDLE: Final = 0.179  # of luminance, where black and white words can be read equally well, at 4.6 : 1
_STEPS: Final = 64
_LEAST_SIZE, _POINTS, _LETTER = 4.0, 72, 0.62  # a font's size in points; points an inch; a letter over its size
_COLOURS: Final = colormaps["Blues"]  # ever darker, so that grey tells it too


class _Place(NamedTuple):
    """A panel's fields: their left and upper edge, and how wide one of them is."""

    left: float
    top: float
    width: float


def render(picture: LinksPicture, suffix: str) -> bytes:
    """Return the picture as a file of this suffix."""
    return style.rendered(drawn, picture, suffix)


def drawn(picture: LinksPicture) -> Figure:
    """Return the figure, in whatever style is in use."""
    places, height = _places(picture.panels)
    frame = Frame(title=picture.title, notes=picture.notes, body=height)
    _scale(frame, picture.scale)
    for panel, place in zip(picture.panels, places, strict=True):
        wide, high = place.width * len(panel.columns), _HEIGHT * len(panel.rows)
        axes = frame.axes(left=place.left, top=place.top, width=wide, height=high)
        _panel(axes, panel, place.width)
    return frame.figure


def _places(panels: Sequence[Panel]) -> tuple[list[_Place], float]:
    """Return where each panel's fields are, and the height of all: two side by side where both are small."""
    beside = 2 if len(panels) > 1 and max(len(panel.columns) for panel in panels) <= _MOST_BESIDE else 1
    room = (WIDTH - 2 * EDGE - _APART * (beside - 1)) / beside
    top, places = KEY_LINE + _TICK, list[_Place]()
    for start in range(0, len(panels), beside):
        row = panels[start : start + beside]
        for index, panel in enumerate(row):
            width = min(_WIDEST, (room - _LEFT) / len(panel.columns))
            places.append(_Place(EDGE + _LEFT + index * (room + _APART), top + _TOP, width))
        top += _TOP + _HEIGHT * max(len(panel.rows) for panel in row) + _BOTTOM
    return places, top


def _scale(frame: Frame, scale: Scale) -> None:
    """Draw what the shades mean."""
    axes = frame.axes(left=EDGE + _LEFT, top=0.08, width=_BAR, height=_BAR_HEIGHT)
    axes.set(xlim=(0, scale.high), ylim=(0, 1))
    axes.set_yticks([])
    axes.set_xticks(
        scale.ticks, [percent(tick, 2) if tick else "0" for tick in scale.ticks], fontsize=style.SMALL_SIZE
    )
    axes.tick_params(length=2, pad=2)
    for step in range(_STEPS):
        left = scale.high * step / _STEPS
        colour = _colour((step + 0.5) / _STEPS)
        axes.add_patch(
            Rectangle((left, 0), scale.high / _STEPS, 1, facecolor=colour, edgecolor=colour, linewidth=0.3)
        )
    words: dict[str, Any] = {"va": "center", "fontsize": style.SMALL_SIZE, "transform": axes.transAxes}
    axes.text(1 + 0.2 / _BAR, 0.5, scale.title, parse_math=False, **words)


def _panel(axes: Axes, panel: Panel, width: float) -> None:
    columns, rows = len(panel.columns), len(panel.rows)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.set_xticks([place + 0.5 for place in range(columns)], [f"to {index}" for index in panel.columns])
    axes.set_yticks([place + 0.5 for place in range(rows)], [f"from {index}" for index in panel.rows])
    axes.tick_params(length=0, labelsize=_size(width, 5), top=False, labeltop=True, labelbottom=False)
    axes.tick_params(axis="y", labelsize=style.SMALL_SIZE)
    axes.spines[:].set_visible(False)
    axes.set_title(panel.title, loc="left", fontsize=style.TEXT_SIZE, weight="bold", pad=18, parse_math=False)
    measured = {(field.row, field.column) for field in panel.fields}
    for row, source in enumerate(panel.rows):
        for column, target in enumerate(panel.columns):
            if (row, column) not in measured:
                _empty(axes, row, column, itself=source == target)
    for field in panel.fields:
        _field(axes, field, width)
    for field in panel.fields:
        if field.framed:
            axes.add_patch(
                _box(field.row, field.column, fill=False, edgecolor=style.INK, linewidth=2.2, clip_on=False)
            )


def _empty(axes: Axes, row: int, column: int, *, itself: bool) -> None:
    """Draw the field of a device and itself, or of what was not measured."""
    axes.add_patch(_box(row, column, facecolor="white" if not itself else style.GRID, edgecolor="white"))
    if not itself:
        axes.text(column + 0.5, row + 0.5, "–", ha="center", va="center", color=style.INK)


def _field(axes: Axes, field: Field, width: float) -> None:
    colour = _colour(field.shade)
    axes.add_patch(_box(field.row, field.column, facecolor=colour, edgecolor="white"))
    look: dict[str, Any] = {"ha": "center", "color": "white" if _luminance(colour) < _MIDDLE else "black"}
    x, y = field.column + 0.5, field.row + 0.5
    axes.text(x, y if not field.under else y - 0.16, field.text, va="center", fontsize=_size(width, 4), **look)
    if field.under:
        axes.text(x, y + 0.24, field.under, va="center", fontsize=min(7.0, _size(width, 4)), **look)


def _box(row: int, column: int, **look: Any) -> Rectangle:  # noqa: ANN401 - as matplotlib's
    return Rectangle((column, row), 1, 1, **look)


def _colour(shade: float) -> str:
    return to_hex(_COLOURS(shade))


def _luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG 2 has it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _size(width: float, letters: int) -> float:
    """Return the size of letters of which so many fit a field of this width."""
    return max(_LEAST_SIZE, min(style.SMALL_SIZE, width * _POINTS / letters / _LETTER))
