"""The report as LaTeX: what stands in it, and that TeX makes pages of it whatever its texts are."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.published.source import Source
from bench.report.chapters.base import Chapter, Report
from bench.report.documents import latex, latex_table
from bench.report.documents.latex_table import GAP, TEXT_WIDTH
from bench.report.formats.latex import escaped
from bench.report.view import Column, Section
from tests.report_sample_small import HOSTILE, PIXEL, SAMPLE, numbered, of_texts, wide

LINKS: Final = {"rule-map": "my report/rule_map 50%#1~&$.png", "p": "my report/é.png"}
SOURCES: Final = [
    Source(title=text, grade="paper", url=f"https://example.org/{text}", seen="quoted") for text in HOSTILE
]
TEXTS = st.text(st.one_of(st.sampled_from("\\{}[]()#$&%~^_-*<>|`'\" 1:/.,\n"), st.characters()), max_size=12)


def body(report: Report, links: Mapping[str, str] = LINKS) -> str:
    """Return what stands between the begin and the end of the document."""
    return latex.render(report, links).split(r"\begin{document}")[1].removesuffix("\\end{document}\n")


def cells(line: str) -> list[str]:
    """Return the cells of a row of a table, addresses left out, in which '&' is no end of one."""
    return re.split(r"(?<!\\)&", re.sub(r"\\url\{[^}]*\}", "", line).split(r" \\")[0])


def tables(text: str) -> list[tuple[int, list[str]]]:
    """Return of each table how many columns it declares, and its lines: the head first."""
    found = re.findall(r"\\begin\{longtable\}\[l\]\{@\{\}([^@]*)@\{\}\}\n(.*?)\\end\{longtable\}", text, re.DOTALL)
    return [
        (len(re.sub(r"\{[0-9.]+pt\}", "", letters)), [line for line in lines.splitlines() if r" \\" in line])
        for letters, lines in found
    ]


def widths(report: Report) -> tuple[str, list[float]]:
    """Return the size of the first table's texts and the widths of its columns in points, if it has any."""
    found = re.search(r"\{\\(\w+)\n\\begin\{longtable\}\[l\]\{@\{\}(.*)@\{\}\}", body(report))
    assert found is not None
    return found[1], [float(width) for width in re.findall(r"\{([0-9.]+)pt\}", found[2])]


def of(*sections: Section) -> Report:
    """Return a report of these sections."""
    return Report("x", (), [Chapter("x", "x", sections=sections)], numbered(1))


class TestText:
    def test_every_environment_ends_and_every_table_has_as_many_cells_as_columns(self) -> None:
        for report in (SAMPLE, of_texts(*HOSTILE, sources=SOURCES)):
            text = body(report)
            begun, ended = (Counter(re.findall(rf"\\{one}\{{(\w+)\}}", text)) for one in ("begin", "end"))
            assert begun == ended
            for columns, lines in tables(text):
                assert {len(cells(line)) for line in lines} == {columns}
        assert [(columns, len(lines)) for columns, lines in tables(body(SAMPLE))] == [
            (3, 3), (2, 2), (15, 47), (15, 47),
        ]  # fmt: skip

    def test_sources_are_numbered_before_the_last_chapter_and_numbers_link_to_them(self) -> None:
        text = body(SAMPLE)
        assert re.findall(r"\\section\{(.*)\}", text) == [
            r"Under the rule by 38 \%", "Side by side", "Sources", "How this was made",
        ]  # fmt: skip
        assert "By arithmetic \\hyperlink{source-2}{[2]}, not by {}[7]." in text
        targets = re.findall(r"\\hypertarget\{(.*?)\}", text)
        assert targets == ["source-1", "source-2", "source-3"]
        assert {*re.findall(r"\\hyperlink\{(.*?)\}", text)} <= {*targets}
        assert r"\url{https://example.org/a_b%20c#x~y?z=1&w}" in text
        assert r"\url{javascript" not in text

    def test_a_picture_without_a_file_or_with_a_name_not_for_tex_is_named(self) -> None:
        assert body(SAMPLE).count(r"\includegraphics") == 1
        for name in ('a"b.png', "a{b.png", "a\\b.png", "|ls.png", "a\nb.png", "\ud800.png"):
            text = body(SAMPLE, {"cut": name})
            assert r"\includegraphics" not in text
            assert r"\textit{Arithmetic was cut}" in text

    def test_what_stands_before_a_table_is_there_and_the_contents(self) -> None:
        assert "No table here." in body(SAMPLE)
        assert r"\tableofcontents" in body(SAMPLE)

    def test_an_address_is_no_command_wherever_it_leads(self) -> None:
        source = Source(title="t", grade="paper", url=r"\input{/etc/hosts}")
        text = body(of_texts(r"https://example.org/%\input{x}", sources=[source]))
        assert r"\input{" not in text

    def test_a_character_that_tex_has_no_letter_of_is_told_by_its_number(self) -> None:
        assert escaped("é ī 10⁵ H₂ 1½ ﬁ − 日") == (
            r"\'{e} \={\i} 10\textsuperscript{5} H\textsubscript{2} 1\,1/2 fi $-$ \textless{}U+65E5\textgreater{}"
        )

    @settings(max_examples=60, deadline=None)
    @given(TEXTS)
    def test_any_text_is_ascii_with_braces_that_balance_in_any_part(self, text: str) -> None:
        source = Source(title=text, grade="paper", url=f"https://x.org/{text}")
        document = body(of_texts(text, sources=[source]), {})
        assert document.isascii()
        depth = 0
        for mark in re.sub(r"\\.", "", document, flags=re.DOTALL):
            depth += {"{": 1, "}": -1}.get(mark, 0)
            assert depth >= 0
        assert depth == 0
        assert [(columns, {len(cells(line)) for line in lines}) for columns, lines in tables(document)] == [
            (2, {2})
        ] * 2


class TestWidths:
    def test_a_table_that_fits_has_columns_as_wide_as_its_texts(self) -> None:
        assert widths(SAMPLE) == ("footnotesize", [])

    def test_a_wide_table_is_smaller_and_fills_the_width_but_no_more(self) -> None:
        size, found = widths(of(wide(15, 4)))
        assert size == "scriptsize"
        assert len(found) == 15
        assert TEXT_WIDTH - 2 < sum(found) + 14 * GAP <= TEXT_WIDTH + 1

    def test_long_texts_wrap_and_short_ones_beside_them_do_not(self) -> None:
        row = ["2023-10-17", "one word after the other " * 20, "another word " * 20]
        _, (date, one, other) = widths(of(Section("", [Column(""), Column(""), Column("")], [row])))
        assert date < 60
        assert one == other > 300

    def test_a_word_wider_than_its_column_may_break_and_loses_nothing(self) -> None:
        word = "x_" * 200
        text = latex_table.table([Column("a"), Column("b")], [[word, word]], escaped)
        _, (_, line) = tables(text)[0]
        for cell in cells(line):
            pieces = cell.strip().split(r"\allowbreak{}")
            assert "".join(pieces) == escaped(word)
            assert max(map(len, pieces)) < 150
        assert r"\allowbreak" not in latex_table.table([Column("a")], [[f"https://x.org/{word}"]], escaped)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 90), min_size=2, max_size=2), min_size=1, max_size=40))
    def test_no_table_is_wider_than_the_text_whatever_it_holds(self, sizes: list[list[int]]) -> None:
        row = [f"{'m' * word} {'m ' * words}" for word, words in sizes]
        _, found = widths(of(Section("", [Column("")] * len(row), [row])))
        assert sum(found) + GAP * (len(row) - 1) <= TEXT_WIDTH + 0.05 * len(row)
        assert all(width > 0 for width in found)


@pytest.mark.slow
class TestPages:
    @pytest.mark.parametrize("report", [SAMPLE, of_texts(*HOSTILE, sources=SOURCES)], ids=["sample", "hostile"])
    def test_pdflatex_makes_pages_and_no_box_is_too_wide(self, report: Report, tmp_path: Path) -> None:
        program = shutil.which("pdflatex")
        if program is None:
            pytest.skip("no pdflatex here: Debian has it in texlive-latex-recommended")
        for link in LINKS.values():
            (tmp_path / link).parent.mkdir(exist_ok=True)
            (tmp_path / link).write_bytes(PIXEL)
        (tmp_path / "report.tex").write_text(latex.render(report, LINKS), encoding="utf-8")
        for _ in range(2):
            command = [program, "-halt-on-error", "-interaction=nonstopmode", "report.tex"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120)
            assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
        log = (tmp_path / "report.log").read_text(encoding="utf-8", errors="replace")
        assert [float(wide) for wide in re.findall(r"Overfull \\hbox \(([0-9.]+)pt", log) if float(wide) > 3] == []
        assert "undefined" not in log
        assert "Missing character" not in log
        assert re.search(r"Output written on report\.pdf \([0-9]{2} pages", log)
