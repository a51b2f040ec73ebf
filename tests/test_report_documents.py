"""The documents of a report other than its page: the same content in each, whatever the texts are."""

import csv
import io
import json
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # which rich brings
from markdown_it.token import Token

from bench.errors import one_line
from bench.published.source import Source
from bench.report import documents
from bench.report.chapters.base import Chapter, Report
from bench.report.documents import FILES, FOLDERS, markdown
from bench.report.documents.csv import tables
from bench.report.documents.sources import encoded
from bench.report.formats.csv import table
from bench.report.view import Column, Section
from tests.report_sample_small import HOSTILE, SAMPLE, numbered, of_texts

LINKS = {"rule-map": "my report/rule (map) 50%.png"}
# Marks that mean something to some format come often.
TEXTS = st.text(
    st.one_of(st.sampled_from("\\|`*_[]<>{}()#$&%~^=+-@'\"\t\r\n 1.:!/,"), st.characters()), max_size=12
)
FEW = settings(max_examples=40, deadline=None)


def parsed(text: str) -> list[Token]:
    """Return a Markdown text's parts, as a reader of CommonMark with tables finds them."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def shown(token: Token) -> str:
    """Return the text that is to be read."""
    return "".join(child.content for child in token.children or () if child.type == "text")


def inside(tokens: list[Token], kind: str) -> list[str]:
    """Return the texts of all elements of a kind: of their first inline part."""
    return [shown(tokens[i + 1]) for i, token in enumerate(tokens) if token.type == kind]


def links(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """Yield the text and the address of every link."""
    for token in tokens:
        children = token.children or []
        for i, child in enumerate(children):
            if child.type == "link_open":
                yield children[i + 1].content, str(child.attrs["href"])


class TestMarkdown:
    text = markdown.render(SAMPLE, LINKS)
    tokens = parsed(text)

    def test_sources_are_the_chapter_before_the_last(self) -> None:
        assert inside(self.tokens, "heading_open") == [
            SAMPLE.title, "Contents", "Under the rule by 38 %", "What the rule counts", "Only words",
            "Side by side", "Side by side", "Rule!", "Sources", "How this was made",
        ]  # fmt: skip

    def test_the_contents_link_to_every_heading_by_the_name_that_github_gives_it(self) -> None:
        found = [link for link in links(self.tokens) if not re.match(r"#source-|https?:", link[1])]
        assert found == [
            ("Under the rule by 38 %", "#under-the-rule-by-38-"),
            ("What the rule counts", "#what-the-rule-counts"),
            ("Only words", "#only-words"),
            ("Side by side", "#side-by-side"),
            ("Side by side", "#side-by-side-1"),
            ("Rule!", "#rule"),
            ("Sources", "#sources"),
            ("How this was made", "#how-this-was-made"),
        ]

    def test_a_name_met_thrice_and_marks_that_github_drops(self) -> None:
        headings = ["A_b: c/d – É²?", "x", "x", "x-1", "x", "contents"]
        names = ["a_b-cd--é", "x", "x-1", "x-1-1", "x-2", "contents"]
        assert markdown._anchors(headings) == names

    def test_a_number_of_a_source_is_a_link_to_it_and_any_other_stays(self) -> None:
        cited = [link for link in links(self.tokens) if link[1].startswith("#source-")]
        assert ("[1]", "#source-1") in cited
        assert ("[2]", "#source-2") in cited
        assert {href.removeprefix("#") for _, href in cited} <= {*re.findall(r'<a id="([^"]+)">', self.text)}
        assert "By arithmetic [2], not by [7]." in inside(self.tokens, "paragraph_open")

    def test_sources_have_addresses_of_the_web_only(self) -> None:
        url = "https://example.org/a_b%20c#x~y?z=1&w"
        assert [href for _, href in links(self.tokens) if "://" in href or "script" in href] == [url]
        assert "3. " in self.text
        assert "javascript:alert(1)" in self.text

    def test_what_is_no_address_of_the_web_is_text(self) -> None:
        odd = of_texts("x", sources=[Source(title="t", grade="paper", url="<script>x</script>")])
        assert "<script>" not in markdown.render(odd, {})

    def test_a_picture_has_its_file_and_without_one_its_title_stands_there(self) -> None:
        (image,) = [child for token in self.tokens for child in token.children or () if child.type == "image"]
        assert image.attrs["src"] == "my%20report/rule%20%28map%29%2050%25.png"
        assert image.content == "One pixel."
        assert {"The H20 lies below every line", "Arithmetic was cut"} <= {*inside(self.tokens, "paragraph_open")}

    def test_every_part_shows_each_text_and_stays_what_it_was(self) -> None:
        for text in (text for text in HOSTILE if text and "://" not in text):
            tokens = parsed(markdown.render(of_texts(text, sources=numbered(2)), {"p": "p.png"}))
            said = one_line(text)
            assert inside(tokens, "heading_open") == [said, "Contents", said, said, "Sources", said, said]
            assert inside(tokens, "td_open") == [said] * 4
            assert inside(tokens, "paragraph_open").count(said) == 13  # about, contents, leads, titles, notes
            assert not [one for one in tokens if one.type.startswith(("html", "code", "fence", "hr"))]

    @FEW
    @given(TEXTS)
    def test_any_text_is_one_cell_of_a_table_that_shows_it(self, text: str) -> None:
        tokens = parsed(markdown.render(of_texts(text), {}))
        assert inside(tokens, "th_open") == ["what", one_line(text)] * 2
        assert inside(tokens, "td_open") == [one_line(text) or "–"] * 4


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


class TestCsv:
    files = tables(SAMPLE)

    def test_each_table_is_a_file_and_the_sources_are_one(self) -> None:
        assert [*self.files] == [
            "rule-what-the-rule-counts.csv", "rule-2.csv", "sides-side-by-side.csv", "sides-rule.csv",
            "sources.csv",
        ]  # fmt: skip
        assert "sources.csv" not in tables(SAMPLE._replace(sources=()))

    def test_records_go_before_texts(self) -> None:
        assert (
            self.files["rule-what-the-rule-counts.csv"] == "chip,tpp,change\nh20,2368.0,-0.85\n'=h100,15832.0,\n"
        )

    def test_texts_stand_below_heads_that_differ(self) -> None:
        assert self.files["rule-2.csv"] == "x,x (2)\n1,-2\n"
        twice = Section("", [Column(head) for head in ("a", "a (2)", "a", "")], [["1", "2", "3", "4"]])
        (text,) = tables(Report("", (), [Chapter("c", "", sections=[twice])], ())).values()
        assert rows_of(text) == [["a", "a (2)", "a (3)", ""], ["1", "2", "3", "4"]]

    def test_sources_are_whole(self) -> None:
        assert rows_of(self.files["sources.csv"])[:2] == [
            ["number", "title", "grade", "url", "seen"],
            ["1", "A data sheet_1 #5", "vendor", "https://example.org/a_b%20c#x~y?z=1&w", "mirror"],
        ]

    def test_names_are_short_plain_and_differ_whatever_the_titles(self) -> None:
        titles = ["É × 日本", "É × 日本", "日本", "../../etc", "w" * 99, "w" * 98, "A B", "a-b", "a/b.csv"]
        sections = [Section(title, [Column("x")], [["1"]]) for title in titles]
        names = [*tables(Report("", (), [Chapter("Ünder/rule", "", sections=sections)], ()))]
        assert names[:4] == ["under-rule-e.csv", "under-rule-e-2.csv", "under-rule-3.csv", "under-rule-etc.csv"]
        assert names[6:] == ["under-rule-a-b.csv", "under-rule-a-b-2.csv", "under-rule-a-b-csv.csv"]
        assert len({*names}) == len(titles)
        assert all(len(name) <= 60 and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.csv", name) for name in names)

    def test_a_text_that_a_spreadsheet_would_compute_begins_with_an_apostrophe(self) -> None:
        for text in ("=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", "\r1", " =1", "-", "-1 %", "--option"):
            ((head,), (cell,)) = rows_of(table([{text: text}]))
            assert head == cell == "'" + text.replace("\r", "\n")

    def test_numbers_and_other_texts_stay(self) -> None:
        for value in ("-1", "+1.5", "-2.5e-9", "-.5", "1e5", -1, -2.5e-9, "a=1", "x-1", "'", ""):
            assert rows_of(table([{"x": value, "y": 1}]))[1][0] == str(value)

    @FEW
    @given(TEXTS)
    def test_any_text_reads_back_as_one_cell_that_is_no_formula(self, text: str) -> None:
        for content in tables(of_texts(text)).values():
            rows = rows_of(content.encode().decode())
            assert [len(row) for row in rows] == [2, 2]
            for cell in (cell for row in rows for cell in row):
                assert not re.match(r"[=+\-@\t\r]", cell) or re.fullmatch(r"[+-][0-9.]+(?:[eE][0-9]+)?", cell)


class TestJson:
    def test_it_holds_what_the_chapters_have_for_programs(self) -> None:
        text = FILES["json"].render(SAMPLE, LINKS)
        document = json.loads(text)
        assert list(document) == ["schema", "title", "about", "chapters", "sources"]
        assert document["schema"] == 1
        assert document["title"] == SAMPLE.title
        first, *_, last = document["chapters"]
        assert first == {
            "name": "rule",
            "title": "Under the rule by 38 %",
            "lead": ["The H20 stays below the line [1].", "So it was sold [2]."],
            "pictures": [
                {"name": "rule-map", "title": "The H20 lies below every line", "alt": "One pixel."},
                {"name": "cut", "title": "Arithmetic was cut", "alt": "One pixel."},
            ],
            "document": {"tpp": 4736.0, "note": "é"},
        }
        assert last["document"] == {"version": 1}
        nowhere = {"number": 2, "title": "Said in a forum", "grade": "reseller", "url": None, "seen": None}
        assert document["sources"][1] == nowhere
        assert '"é"' in text

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_no_number_that_json_does_not_know(self, number: float) -> None:
        odd = SAMPLE._replace(chapters=[Chapter("x", "X", document={"rate": number})])
        with pytest.raises(ValueError, match="JSON"):
            FILES["json"].render(odd, {})

    def test_a_name_that_is_not_utf8_reads_back(self) -> None:
        text = FILES["json"].render(SAMPLE._replace(title="a\udcffb\ud800"), {})
        assert json.loads(text.encode("utf-8"))["title"] == "a\udcffb\ud800"


class TestAll:
    def test_every_module_that_makes_something_of_a_report_is_in_a_list(self) -> None:
        folder = Path(str(documents.__file__)).parent
        modules = [import_module(f"bench.report.documents.{path.stem}") for path in folder.glob("[!_]*.py")]
        makers = [
            function
            for module in modules
            for name in ("render", "tables")
            if (function := getattr(module, name, None)) and "report" in signature(function).parameters
        ]
        assert len(makers) == len(FILES) + len(FOLDERS)
        assert len({document.suffix for document in FILES.values()}) == len(FILES)
        for name, document in FILES.items():
            assert SAMPLE.title in document.render(SAMPLE, {}), name

    @pytest.mark.parametrize("name", FILES)
    def test_any_text_can_be_saved(self, name: str) -> None:
        odd = [Source(title=text, grade="paper", url=f"https://x.org/{text}") for text in (*HOSTILE, "\ud800")]
        text = FILES[name].render(of_texts(*HOSTILE, "\ud800", sources=odd), {"p": "\ud800.png"})
        assert text.encode("utf-8")
        assert text.endswith("\n")

    @pytest.mark.parametrize("name", ["md", "latex"])
    def test_sources_are_told_with_how_they_were_read(self, name: str) -> None:
        text = FILES[name].render(SAMPLE, {})
        for source in SAMPLE.sources:
            assert source.seen is None or f"read: {source.seen}" in text
        assert "Said in a forum" in text

    def test_an_empty_report_is_a_document_too(self) -> None:
        empty: Any = Report("Nothing", (), (), ())
        assert "Nothing" in FILES["md"].render(empty, {})
        assert r"\end{document}" in FILES["latex"].render(empty, {})
        assert tables(empty) == {}

    @pytest.mark.parametrize(
        ("url", "safe"),
        [
            ("https://x.org/a b<c>\"'`{}|\\^é", "https://x.org/a%20b%3Cc%3E%22'%60%7B%7D%7C%5C%5E%C3%A9"),
            ("https://x.org/50%25?q=100%&r=%zz", "https://x.org/50%25?q=100%25&r=%25zz"),
            ("https://[::1]/a_(b);~c", "https://[::1]/a_(b);~c"),
        ],
    )
    def test_an_address_is_encoded_once(self, url: str, safe: str) -> None:
        assert encoded(url) == encoded(encoded(url)) == safe
