"""Every format of one view: the same content in each, whatever the texts are, and nothing that could be run."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.cli.options import FORMAT_NAMES, JUDGED_FORMATS
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.report import chips as chip_views
from bench.report import formats
from bench.report.formats import FORMATS
from bench.report.view import Case, Column, View, percent, significant

ENDINGS = {
    "table": "txt", "md": "md", "csv": "csv", "json": "json", "latex": "tex", "html": "html",
    "junit": "xml",
}  # fmt: skip

HOSTILE = [
    "a|b", "|", "back\\slash", "end\\", "\\|", "<script>alert(1)</script>", "<b>", "a & b", "R&amp;D", "&#60;",
    "50 %", "a_b_c", "# 1", "$x$", "{y}", "~z~", "^", "`code`", "*bold*", "[link](javascript:x)", "a,b", ",",
    'say "hi"', '"', "it's", "× ± ³ – …", "日本", "--option", "1e5", "007", "None", "=1+1", "-1",
    "https://example.org/a_b?x=1&y=2", "https://example.org/<script>", "<https://example.org/x>",
    "(https://example.org/A_(b), c)", "https://example.org/a|b.", '"https://example.org/"onclick="x',
]  # fmt: skip


def _view(*texts: str) -> View:
    """A view whose every part holds `texts`: one row and one record each, beside a number and nothing."""
    return View(
        title=f"All of {texts[0]}",
        columns=[Column("what"), Column(texts[0], "right")],
        rows=[[text, "1.5"] for text in texts],
        records=[{"text": text, "rate": 1.5e12, "missing": None, "flag": True} for text in texts],
        document={"texts": list(texts), "rate": 1.5e12, "missing": None},
        notes=texts,
    )


SMALL = View(
    title="Two chips & what 50 % of a_peak is",
    columns=[Column("chip"), Column("rate", "right"), Column("note")],
    rows=[
        ["x-1", "148.0 TFLOP/s ±0.5 %", "1024³ | see https://example.org/A_(b)."],
        ["x-22", "1.200 PFLOP/s", ""],
    ],
    records=[
        {"chip": "x-1", "rate": 148e12, "unit": "flop_per_s", "note": 'a "quoted", text'},
        {"chip": "x-22", "rate": 1.2e15, "unit": "flop_per_s", "note": None},
    ],
    document={"chips": [{"id": "x-1", "rate": 148e12}, {"id": "x-22", "rate": 1.2e15}]},
    notes=["Rates <are> dense; --sources lists them.", "* sources disagree"],
    cases=[
        Case("x-1: b against a", "passed", "faster 1.081×"),
        Case('x-2 <&> "y": b against a', "failed", "slower 0.9000× (0.8 … 0.95)"),
        Case("x-3: b against a", "skipped", "can't tell: no interval"),
    ],
)


def test_the_option_offers_every_format_there_is() -> None:
    assert list(FORMATS) == list(JUDGED_FORMATS) == list(ENDINGS)


@pytest.mark.parametrize("command", ["run", "chips", "explain", "devices", "compare"])
def test_only_a_command_that_judges_offers_junit(command: str) -> None:
    """Of anything else it would be a test suite without tests, which a CI service takes for a success."""
    assert [name for name in FORMATS if name not in FORMAT_NAMES] == ["junit"]
    shown = CliRunner().invoke(main, [command, "--help"]).stdout
    assert ("junit" in shown) == (command == "compare")
    assert "latex" in shown


def test_every_file_of_the_folder_is_in_the_list() -> None:
    folder = Path(str(formats.__file__)).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    renderers = {import_module(f"bench.report.formats.{name}").render for name in modules}
    assert renderers == set(FORMATS.values())


@pytest.mark.parametrize("name", FORMATS)
def test_a_small_view_looks_like_its_golden_file(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"small.{ENDINGS[name]}", FORMATS[name](SMALL))


@pytest.mark.parametrize("name", ["table", "md"])
def test_h20_beside_h100_looks_like_its_golden_file(name: str, golden: Callable[[str, str], None]) -> None:
    result = CliRunner().invoke(main, ["chips", "h20", "h100", "--format", name])
    assert result.exit_code == 0
    golden(f"chips-h20-h100.{ENDINGS[name]}", result.stdout)


@pytest.mark.parametrize("name", FORMATS)
def test_every_text_ends_with_one_line_break(name: str) -> None:
    text = FORMATS[name](SMALL)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_csv_parses_back_to_the_records() -> None:
    text = FORMATS["csv"](_view(*HOSTILE, "two\nlines", "", "  spaces  "))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    harmless = [f"'{text}" if text in {"--option", "=1+1"} else text for text in HOSTILE]
    assert [row["text"] for row in rows] == [*harmless, "two\nlines", "", "  spaces  "]
    assert {(float(row["rate"]), row["missing"], row["flag"]) for row in rows} == {(1.5e12, "", "True")}


def test_csv_turns_other_line_breaks_into_one_kind() -> None:
    text = FORMATS["csv"](_view("a\r\nb", "c\rd"))
    assert [row["text"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ["a\nb", "c\nd"]


def test_csv_has_a_column_for_every_name_in_any_record_and_is_empty_without_records() -> None:
    view = SMALL._replace(records=[{"a": 1}, {"b": 2, "a": 3}])
    assert FORMATS["csv"](view) == "a,b\n1,\n3,2\n"
    assert FORMATS["csv"](view._replace(records=[])) == ""


def test_json_parses_back_to_the_document_with_its_schema_first() -> None:
    view = _view(*HOSTILE, "two\nlines")
    document = json.loads(FORMATS["json"](view))
    assert document == {"schema": 1, **view.document}
    assert next(iter(document)) == "schema"


def test_json_has_no_number_that_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="JSON"):
        FORMATS["json"](SMALL._replace(document={"rate": float("nan")}))


def _suite(*cases: Case) -> ET.Element:
    (suite,) = ET.fromstring(FORMATS["junit"](SMALL._replace(cases=cases)))
    return suite


def test_junit_counts_its_cases_by_outcome_and_keeps_every_text() -> None:
    suite = _suite(
        *(Case(text, "failed", text) for text in HOSTILE),
        *(Case(text, "skipped", text) for text in HOSTILE[:3]),
        Case("x", "passed", "faster"),
    )
    counts = [suite.get(name) for name in ("tests", "failures", "skipped", "errors")]
    assert counts == [str(len(HOSTILE) + 4), str(len(HOSTILE)), "3", "0"]
    assert [case.get("name") for case in suite] == [*HOSTILE, *HOSTILE[:3], "x"]
    assert [found.get("message") for found in suite.findall("testcase/failure")] == HOSTILE
    assert [found.get("message") for found in suite.findall("testcase/skipped")] == HOSTILE[:3]
    (passed,) = suite.findall("testcase/system-out")
    assert passed.text == "faster"


@pytest.mark.parametrize("mark", ["\x00", "\x1b", "\ufffe", "\uffff", "\ud800"])
def test_junit_is_xml_whatever_a_name_holds(mark: str) -> None:
    (case,) = _suite(Case(f"a{mark}b", "failed", f"c{mark}d"))
    assert str(case.get("name")).startswith("a")
    assert str(case.get("name")).endswith("b")


def test_junit_without_anything_judged_is_an_empty_suite() -> None:
    suite = _suite()
    assert (suite.get("tests"), list(suite)) == ("0", [])


class _Page(HTMLParser):
    """Collects the texts of a page by element, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")], attrs
        if tag == "a":
            assert [name for name, _ in attrs] == ["href"]
            self.links.append(str(attrs[0][1]))
        elif tag != "meta":
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if tag != "a":
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data


def _page(view: View) -> _Page:
    page = _Page()
    page.feed(FORMATS["html"](view))
    page.close()
    return page


def test_html_shows_the_texts_unchanged_and_holds_nothing_that_runs() -> None:
    page = _page(_view(*HOSTILE))
    assert page.texts["td"][::2] == HOSTILE
    assert page.texts["li"] == HOSTILE
    assert page.texts["th"] == ["what", HOSTILE[0]]
    assert page.texts["title"] == page.texts["caption"] == [f"All of {HOSTILE[0]}"]
    assert not {"script", "img", "link", "iframe", "b", "form"} & set(page.tags)


def test_html_links_whole_addresses_only() -> None:
    links = _page(
        _view("x", "(https://example.org/A_(b), c)", "at http://a.org/x?y=1&z=2.", "<https://a.org/>")
    ).links
    expected = ["https://example.org/A_(b)", "http://a.org/x?y=1&z=2", "https://a.org/"]
    assert links == [*expected, *expected]  # in the cells, then in the notes
    assert not _page(_view("javascript:alert(1)", "ftp://x.org", "https://")).links


def test_html_needs_nothing_from_elsewhere() -> None:
    text = FORMATS["html"](SMALL)
    assert not re.findall(r"\b(?:src|@import|url\()", text)


def _unescaped_latex(text: str) -> str:
    """What TeX would still read as a command after all the escapes and commands that may stand in a cell."""
    known = r"\\text(?:backslash|asciitilde|asciicircum|asciigrave|less|greater|bar|endash)\{\}|\\ldots\{\}|-\{\}"
    maths = r"\$(?:\\(?:times|pm|cdot|div|geq|leq|mu)|\^[23])\$"
    return re.sub(rf"{known}|{maths}|\\[&%$#_{{}}]", "", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_leaves_nothing_that_tex_would_read(text: str) -> None:
    lines = FORMATS["latex"](_view(text)).splitlines()
    row = lines[lines.index(r"\midrule") + 1]
    assert row.endswith(r"\\")
    first, second = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
    assert second.strip() == "1.5"
    cell = first.strip().removeprefix("{}")
    assert not re.findall(r"[\\&%$#_{}~^<>|`]|--", _unescaped_latex(cell)), cell
    assert not first.strip().startswith(("[", "*")), "would be an argument of the row above"
    caption = lines[3].removeprefix(r"\caption{All of ").removesuffix("}")
    note = lines[-2].removeprefix(r"\par\footnotesize ").removeprefix("{}")
    assert caption == note == cell


def test_latex_is_ascii_for_everything_that_is_shipped() -> None:
    """Whatever a data file or a note holds, LaTeX has a character for it."""
    chips = Catalogue([shipped_specs()]).all()
    for view in (chip_views.overview(chips), chip_views.side_by_side(chips), chip_views.sources(chips)):
        assert FORMATS["latex"](view).isascii()


def test_latex_declares_as_many_columns_with_rows_as_without() -> None:
    for view in (SMALL, SMALL._replace(rows=[])):
        text = FORMATS["latex"](view)
        assert r"\begin{tabular}{lrl}" in text
        assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline")] == [1, 1, 1, 0]


def _unescaped_markdown(text: str) -> str:
    """The text that GitHub shows: escapes undone, and no mark left that was not escaped."""
    outside = re.sub(r"https?://[^\s<>|`\\\[\]]+", "", re.sub(r"\\[!-/:-@\[-`{-~]", "", text))
    assert not re.findall(r"[\\|*_`<>\[\]~]|&#?\w+;", outside), text
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_has_one_row_of_two_cells_and_shows_the_text(text: str) -> None:
    lines = FORMATS["md"](_view(text)).splitlines()
    for line in lines[2:5]:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3, line
    cell = re.split(r"(?<!\\)(?:\\\\)*\|", lines[4].replace("\\\\", "\0"))[1].replace("\0", "\\\\")
    assert _unescaped_markdown(cell.strip()) == text
    assert _unescaped_markdown(lines[-1].removeprefix("- ")) == text
    assert _unescaped_markdown(lines[0].removeprefix("**").removesuffix("**")) == f"All of {text}"


@pytest.mark.parametrize("name", ["table", "md", "latex"])
def test_a_line_break_in_a_text_is_a_space_in_a_table(name: str) -> None:
    broken, whole = _view("two\r\n lines", "x\u2028y\tz"), _view("two lines", "x y z")
    assert FORMATS[name](broken) == FORMATS[name](whole)


@pytest.mark.parametrize("name", ["table", "md", "latex"])
def test_no_control_character_reaches_the_terminal(name: str) -> None:
    text = FORMATS[name](_view("red \x1b[31m and \x07"))
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize("name", ["table", "md", "html"])
def test_an_empty_cell_is_shown_as_a_dash(name: str) -> None:
    assert "–" in FORMATS[name](_view("x", ""))
    assert "–" not in FORMATS[name](_view("x", "y"))


def test_plain_text_lines_up_and_keeps_numbers_as_they_are() -> None:
    lines = FORMATS["table"](_view("1e5", "007", "0.10")).splitlines()
    cells = [line.split() for line in lines[4:7]]
    assert cells == [["1e5", "1.5"], ["007", "1.5"], ["0.10", "1.5"]]
    assert len({len(line.rstrip()) for line in lines[2:7]}) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00036, "0.0003600"),
        (1234567, "1235000"),
        (999.96, "1000"),
        (9.9996, "10.00"),
        (0, "0"),
        (-0.5, "-0.5000"),
    ],
)
def test_four_significant_digits_without_exponent(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_share_in_per_cent() -> None:
    shares: list[tuple[Any, ...]] = [(0.0123, 3), (0.9996, 3), (1.2, 2)]
    assert [percent(*share) for share in shares] == ["1.23 %", "100 %", "120 %"]
