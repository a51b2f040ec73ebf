"""A table over all the pages that it takes, no wider than the text: how wide each column is, from its texts."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.errors import one_line
from bench.report.formats.latex import escaped
from bench.report.view import Align, Column

TEXT_WIDTH: Final = 765.0  # points: A4 across, with margins of 14 mm
GAP: Final = 8.0  # points between two columns
# How large texts are in points, as their widths grow; tiny letters are wide for their size.
_SIZES: Final = MappingProxyType({"footnotesize": 8.0, "scriptsize": 7.0, "tiny": 6.0})
_MANY: Final = 7  # columns that wrap need fewer lines each if they are set smaller
_LONGEST: Final = 20.0  # of a word that keeps a column from being narrower, in sizes
_HALVINGS: Final = 24
# How wide characters are in parts of their size, at least as wide as any of TeX's small letters makes them.
_WIDTHS: Final = (("!',.:;[]il", 0.32), ("-/()fjrstI ", 0.45), ("w", 0.88), ("MW#%|m", 1.15))
_WIDTH_OF: Final = MappingProxyType({mark: width for marks, width in _WIDTHS for mark in marks})
_SMALL, _CAPITAL, _NUMBERED = (
    0.63,
    0.88,
    5.6,
)  # the last for '<U+65E5>', which stands for what TeX has no letter of


class _Layout(NamedTuple):
    """How large texts are, and how wide columns in points; without widths, as wide as their texts."""

    size: str
    widths: Sequence[float] = ()


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], written: Callable[[str], str]) -> str:
    """Return a longtable, its texts as `written` makes them. An empty cell is a dash.

    Its columns `L{width}` and `R{width}` wrap to the left and to the right. A word too long for its column breaks.
    """
    heads = [column.head for column in columns]
    lines = [heads, *([one_line(text) or "–" for text in row] for row in rows)]
    layout = _layout(lines)
    widths: Sequence[float | None] = layout.widths or [None] * len(columns)
    letters = "".join(_letter(column.align, width) for column, width in zip(columns, widths, strict=True))
    top, *body = (_line(row, layout, written) for row in lines)
    return (
        f"{{\\{layout.size}\n\\begin{{longtable}}[l]{{@{{}}{letters}@{{}}}}\n"
        f"\\toprule\n{top}\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot\n"
        + "".join(f"{line}\n" for line in body)
        + "\\end{longtable}}\n"
    )


def _layout(rows: Sequence[Sequence[str]]) -> _Layout:
    columns = [[one_line(text) for text in column] for column in zip(*rows, strict=True)]
    whole = [max(map(_width, column)) for column in columns]
    words = [min(_LONGEST, max(_width(word) for text in column for word in _words(text))) for column in columns]
    room = TEXT_WIDTH - GAP * (len(columns) - 1)
    for size in ("footnotesize", "scriptsize"):
        if sum(whole) * _SIZES[size] <= room:
            return _Layout(size)
    sizes = list(_SIZES)[len(columns) >= _MANY :]
    size = next((size for size in sizes if sum(words) * _SIZES[size] <= room), sizes[-1])
    return _Layout(size, [_SIZES[size] * width for width in _shared(whole, words, room / _SIZES[size])])


def _shared(whole: Sequence[float], words: Sequence[float], room: float) -> list[float]:
    """Return widths that fill `room`: what needs less than a limit has that, all the others the limit.

    Each has what its longest word needs, as far as there is room for all of those.
    """
    fair = room / len(whole)
    needed = words if sum(words) <= room else [min(word, fair) for word in words]
    least, most = 0.0, room
    for _ in range(_HALVINGS):
        limit = (least + most) / 2
        widths = _limited(whole, needed, limit)
        least, most = (limit, most) if sum(widths) <= room else (least, limit)
    return _limited(whole, needed, least)


def _limited(whole: Sequence[float], needed: Sequence[float], limit: float) -> list[float]:
    return [min(most, max(least, limit)) for most, least in zip(whole, needed, strict=True)]


def _letter(align: Align, width: float | None) -> str:
    letter = align[0]
    return letter if width is None else f"{letter.upper()}{{{width:.1f}pt}}"


def _line(row: Sequence[str], layout: _Layout, written: Callable[[str], str]) -> str:
    if not layout.widths:
        return " & ".join(map(written, row)) + r" \\"
    widths = [width / _SIZES[layout.size] for width in layout.widths]
    cells = [wrapped(text, width, written) for text, width in zip(row, widths, strict=True)]
    return " & ".join(cells) + r" \\ \addlinespace[2pt]"


def wrapped(text: str, width: float, written: Callable[[str], str]) -> str:
    """Return a text for a column so many times its size wide, with places where words that are wider may break."""
    words = one_line(text).split(" ")
    if all(map(_breaks, words)) or max(map(_width, words)) <= width:
        return written(text)
    return " ".join(
        written(word) if _breaks(word) else "\\allowbreak{}".join(map(written, _pieces(word, width)))
        for word in words
    )


def _breaks(word: str) -> bool:
    """Whether a word has places to break anyway: an address."""
    return "://" in word


def _pieces(word: str, width: float) -> list[str]:
    pieces, room = [""], width
    for mark in word:
        room -= _width(mark)
        if room < 0 and pieces[-1]:
            pieces.append("")
            room = width - _width(mark)
        pieces[-1] += mark
    return pieces


def _words(text: str) -> list[str]:
    """Return the parts of a text between which a line may break: words, and those of a word with hyphens."""
    return text.replace("-", "- ").split() or [""]


def _width(text: str) -> float:
    return sum(map(_mark_width, text))


def _mark_width(mark: str) -> float:
    if mark.isascii():
        return _WIDTH_OF.get(mark, _SMALL if mark.islower() or mark.isdigit() else _CAPITAL)
    return _NUMBERED if "U+" in escaped(mark) else _CAPITAL
