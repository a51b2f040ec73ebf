"""Finished reports to make documents of: a small one, and one whose every text was written to do harm."""

from collections.abc import Callable
from functools import cache
from typing import Final

from bench.published.source import Source
from bench.report.chapters.base import Chapter, Illustration, Report
from bench.report.plots import style
from bench.report.plots.frame import Frame
from bench.report.view import Column, Section

SOURCES: Final = (
    Source(title="Maker's sheet", grade="vendor", url="https://example.org/sheet_(1).pdf", seen="original"),
    Source(title="A forum's print-out", grade="device", seen="quoted"),
    Source(title="A paper", grade="paper", url="http://example.org/paper?a=1&b=2"),
)
# In both orders of size: by prefix, by sign, by what has no number.
RATES: Final = ("744.8 TFLOP/s", "1.2 PFLOP/s v*", "≥ 900 GFLOP/s", "none", "12,000 GFLOP/s", "")
HOSTILE: Final = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "</title></style></script><script>alert(1)</script>",
    "{{ 7*7 }}{% raw %}",
    "]]><svg onload=alert(1)>&lt;b&gt;",
    "\x1b[31mred\x00\x0b",
    "a\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
    "javascript:alert(1)",
    "https://example.org/\"onclick='alert(1)",
    "x" * 400,
)


def drawn(title: str, label: str) -> Callable[[str], bytes]:
    """Return what draws a picture with this title, a label, lines that are clipped and markers that are shared."""

    def render(suffix: str) -> bytes:
        with style.applied():
            frame = Frame(title=title, notes=["A note below it."], body=4.0)
            axes = frame.axes(left=1.0, top=0.2, width=9.0, height=3.2)
            axes.plot([1, 2, 3], [1, 3, 2], "o-", color=style.COLOURS[0], fillstyle="bottom")
            axes.bar([1, 2], [1, 2], hatch="//", color="white", edgecolor=style.INK)
            axes.set_ylim(0, 2.5)
            axes.text(2, 2, label, parse_math=False)
            axes.set_xlabel("size in bytes")
            return style.saved(frame.figure, suffix)

    return render


def illustration(name: str, title: str, *, label: str = "peak") -> Illustration:
    """Return a picture of its own name."""
    return Illustration(name, title, f"A line over sizes. {title}", drawn(title, label))


def _many(rows: int, columns: int) -> Section:
    """Return a table as wide and long as the largest: so many columns, all with something to say."""
    heads = [
        Column("chip"),
        *(Column(f"2025-{n:02}-rule", "right" if n % 3 else "left") for n in range(1, columns)),
    ]
    cells = [
        [
            f"chip-sxm{row}-80gb",
            *(f"{row * n % 97},000,000 v*" if n % 3 else "a licence is presumed" for n in range(1, columns)),
        ]
        for row in range(rows)
    ]
    return Section("Every chip and every rule", heads, cells, notes=["A cell names what is met [2]."])


@cache
def small() -> Report:
    """Return a report of four chapters with every part that there can be, and twice the same picture."""
    rates = Section(
        "Rates & units",
        [Column("what"), Column("rate", "right"), Column("note [3]")],
        [[f"row {n}", rate, f"see [{n}]"] for n, rate in enumerate(RATES, 1)],
        lead=["Rates of [1], as https://example.org/A_(b) has them."],
        notes=["[4] is no source, nor is [0]; [3] is."],
    )
    facts = Section("", [Column("fact"), Column("value", "right")], [["cores", "132"]])
    title = "The H20 keeps 15 % of the rate,\N{NO-BREAK SPACE}and all of the memory"
    return Report(
        "What one chip keeps of another",
        ["made by chipbench", "of 2 chips"],
        [
            Chapter("summary", "What was found", ["One fifth is left [1]."], [illustration("one", title)]),
            Chapter("published", "Published figures", (), [illustration("two", title)], [rates, facts]),
            Chapter("rule", "The rule", ["All of it."], (), [_many(46, 15)]),
            Chapter(
                "method", "How this was made", ["By arithmetic alone."], (), [Section("", notes=["the last word"])]
            ),
        ],
        SOURCES,
    )


@cache
def hostile() -> Report:
    """Return a report whose titles, texts, heads, cells, pictures and sources are all hostile."""
    table = Section(
        HOSTILE[0],
        [Column(text, "right") for text in HOSTILE],
        [HOSTILE, HOSTILE[::-1], *[HOSTILE] * 12],
        lead=HOSTILE,
        notes=HOSTILE,
    )
    pictures = [
        Illustration(text, text, text, drawn(text[:60].replace("\n", " "), text[:60])) for text in HOSTILE[:8]
    ]
    sources = [Source(title=text, grade="reseller", url=text) for text in HOSTILE]
    return Report(
        HOSTILE[3],
        HOSTILE,
        [
            Chapter("first", HOSTILE[3], HOSTILE, pictures, [table, Section(HOSTILE[1], lead=HOSTILE)]),
            Chapter("last", HOSTILE[2], ["the end"]),
        ],
        sources,
    )
