"""How every picture looks, and how a figure becomes the bytes of a file.

The same figure gives the same bytes: no date stands in them, and nothing of the user's own matplotlib settings.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from matplotlib import style
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people tell apart too, without the yellow, too pale for a line.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# No two of the first 56 sides have both alike, and no two of the first seven either.
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "p")
INK: Final = "#222222"
PALE: Final = "#8a8a8a"
GRID: Final = "#e6e6e6"
DASHES: Final = (0, (4, 2))
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 13.0, 9.0, 8.0

_BY: Final = "chipbench"
# What a file of each suffix says of itself; None leaves out what would differ from time to time.
SUFFIXES: Final = MappingProxyType[str, dict[str, str | None]](
    {
        ".svg": {"Date": None, "Creator": _BY},
        ".png": {"Software": _BY},
        ".pdf": {"CreationDate": None, "Creator": _BY, "Producer": None},
    }
)
_SETTINGS: Final = {
    "font.family": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": TEXT_SIZE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.dpi": 150,
    "svg.hashsalt": _BY,
    "svg.fonttype": "none",  # text stays text, which can be searched and read aloud
    "pdf.fonttype": 42,
}
_P = TypeVar("_P")


class Look(NamedTuple):
    """What one side of a picture is drawn with: nothing is told by the colour alone."""

    colour: str
    marker: str


def look(index: int) -> Look:
    """Return how the side of this number looks."""
    return Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])


@contextmanager
def applied() -> Iterator[None]:
    """Draw and save in the style of all pictures, whatever the user's own settings of matplotlib are."""
    with style.context(["default", _SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def saved(figure: Figure, suffix: str) -> bytes:
    """Return the bytes of the file of this suffix."""
    content = io.BytesIO()
    figure.savefig(content, format=suffix.removeprefix("."), metadata=SUFFIXES[suffix])
    return content.getvalue()


def rendered(drawn: Callable[[_P], Figure], picture: _P, suffix: str) -> bytes:
    """Return the file of this suffix of what `drawn` makes of a picture."""
    with applied():
        return saved(drawn(picture), suffix)
