"""A report as chapters make it, small but with all its parts, and one of texts that mean something to a format."""

from collections.abc import Mapping, Sequence
from typing import Final

from bench.published.source import Source
from bench.report.chapters.base import Chapter, Illustration, Report
from bench.report.view import Column, Section

# A picture of one pixel.
PIXEL: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe"
    "0def46b80000000049454e44ae426082"
)
NOTHING: Final = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
HOSTILE: Final = (
    "a|b", "back\\slash", "end\\", "\\|", "<script>alert(1)</script>", "R&amp;D", "50 %", "a_b_c", "# 1", "C #",
    "$x$ costs $5", "{y}", "}", "{{ 7*7 }}", "~z~", "^^M", "`code`", "*bold*", "[link](javascript:x)", "[1] [2]",
    "[99]", "=1+1", "-1", "--option", "+5 %", "@SUM(A1)", "\t=1", "1. one", "- dash",
    'say "hi"', "× ± ³ – … 10⁵ 1½",
    "日本 é ł į \u202e \U0001f600", "\x00\x1b[31m", "two\r\nlines", "", "\\end{document}", "\\input{/etc/hosts}",
    "see https://example.org/a_b?x=1&y=50%25#top, now", "(https://example.org/A_(b))",
    "https://example.org/%\\}{^^",
    "w" * 300, "https://example.org/" + "w" * 300,
)  # fmt: skip


def picture(name: str, title: str = "A finding", alt: str = "One pixel.") -> Illustration:
    """Return a picture of one pixel, or of nothing as an SVG."""
    return Illustration(name, title, alt, lambda suffix: NOTHING if suffix == ".svg" else PIXEL)


def section(*texts: str, title: str = "A table") -> Section:
    """Return a section with a table of two columns, every part of which holds these texts."""
    return Section(
        title,
        [Column("what"), Column(texts[0], "right")],
        [[text, text] for text in texts],
        lead=texts,
        notes=texts,
    )


def of_texts(*texts: str, sources: Sequence[Source] = ()) -> Report:
    """Return a report each part of which holds the first of these texts, and most parts all of them."""
    chapter = Chapter(
        "some", texts[0], texts, [picture("p", texts[0], texts[0])], [section(*texts, title=texts[0])]
    )
    return Report(texts[0], texts, [chapter, chapter._replace(name="other")], sources)


def wide(columns: int, rows: int) -> Section:
    """Return a table of so many columns, of short numbers and some sentences."""
    heads = [Column(f"figure_{i} GB/s", "right" if i % 3 else "left") for i in range(columns)]
    cells = ["an H100 SXM5 80GB, cut down", "1,979 r*", "900 GB/s [1]", "a sentence that goes on for a while " * 2]
    return Section(
        "Side by side", heads, [[cells[(i * 7 + row) % 4] for i in range(columns)] for row in range(rows)]
    )


def numbered(count: int) -> list[Source]:
    """Return so many sources."""
    return [
        Source(title=f"Data sheet {i}", grade="vendor", url=f"https://example.org/{i}", seen="original")
        for i in range(1, count + 1)
    ]


_DOCUMENT: Final[Mapping[str, object]] = {"tpp": 4736.0, "note": "é"}

SAMPLE: Final = Report(
    title="H20 96GB against what it was cut from",
    about=["Of the H20 SXM 96GB and 2 others", "Made on 2026-01-02 by chipbench 0.1.0"],
    chapters=[
        Chapter(
            "rule",
            "Under the rule by 38 %",
            ["The H20 stays below the line [1].", "So it was sold [2]."],
            [picture("rule-map", "The H20 lies below every line"), picture("cut", "Arithmetic was cut")],
            [
                Section(
                    "What the rule counts",
                    [Column("chip"), Column("TPP", "right"), Column("change", "right")],
                    [["H20 96GB", "2,368", "-0.85"], ["H100 | SXM", "15,832", ""]],
                    notes=["TPP = 2 × MacTOPS × bits [1]"],
                    records=[{"chip": "h20", "tpp": 2368.0, "change": -0.85}, {"chip": "=h100", "tpp": 15832.0}],
                ),
                Section("", [Column("x"), Column("x")], [["1", "-2"]]),
                Section("Only words", lead=["No table here."]),
            ],
            _DOCUMENT,
        ),
        Chapter("sides", "Side by side", sections=[wide(15, 46), wide(15, 46)._replace(title="Rule!")]),
        Chapter("method", "How this was made", ["By arithmetic [2], not by [7]."], document={"version": 1}),
    ],
    sources=[
        Source(
            title="A data sheet_1 #5", grade="vendor", url="https://example.org/a_b%20c#x~y?z=1&w", seen="mirror"
        ),
        Source(title="Said in a forum", grade="reseller"),
        Source(title="Not of the web", grade="paper", url="javascript:alert(1)"),
    ],
)
