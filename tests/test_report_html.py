"""The report as a page: valid, whole, alone in the world; no text of it is more than text."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product

import html5lib
import pytest

from bench.errors import one_line
from bench.report.chapters.base import Chapter, Report
from bench.report.documents.html import render
from bench.report.documents.sorting import sort_key, sort_keys
from bench.report.documents.svg import inlined
from bench.report.view import Column, Section
from tests.contrast import contrast
from tests.report_samples import HOSTILE, RATES, SOURCES, hostile, illustration, small

SAMPLES = {"small": small, "hostile": hostile}
BY_SIZE = ["9.9e-13 s", "3 µs", "4 us", "12 ms", "1.5 s", "2 min", "1 h"]

NUMBERS = {
    "79.1 % of peak": 79.1, "0.150×": 0.15, "1.5x": 1.5, "−3 %": -3, "±0.4 %": 0.4, "-0.2": -0.2,
    "80,000,000,000 a": 8e10, "1.979 PFLOPS v*": 1.979e15, "16 GiB": 2.0**34, "700 W": 700, "1980 MHz": 1.98e9,
    "8192³": 8192, "8192x64x64": 8192, "132 SM": 132, "2.1 GFLOP/s/W": 2.1e9, "512 FLOP/clock/SM": 512,
    "1.000e-13 s": 1e-13, "0.9 (0.8 … 1.0)": 0.9, "80 p": 80,
    "4.8TB/s": 4.8e12,
}  # fmt: skip
NO_NUMBERS = ("", "–", "3A090.a.1", "2023-10-17", "12.4.1", "10:30", "fp8", "4th", "9" * 400, "1e999", "nan")


@cache
def page(name: str) -> str:
    return render(SAMPLES[name]())


def parsed(text: str) -> ET.Element:
    root = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    assert isinstance(root, ET.Element)
    return root


@cache
def tree(name: str) -> ET.Element:
    return parsed(page(name))


def written(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def texts_of(report: Report) -> Iterator[str]:
    """Every text of a report that is to be read in its page."""
    yield from (report.title, *report.about, *(source.title for source in report.sources))
    for chapter in report.chapters:
        yield from (chapter.title, *chapter.lead)
        yield from (text for one in chapter.pictures for text in (one.title, one.alt))
        for section in chapter.sections:
            yield from (section.title, *section.lead, *section.notes)
            yield from (column.head for column in section.columns)
            yield from (cell for row in section.rows for cell in row)


def one_table(columns: list[Column], rows: list[list[str]]) -> ET.Element:
    report = Report("A", (), [Chapter("one", "One", sections=[Section("", columns, rows)])], SOURCES)
    return parsed(render(report))


@pytest.mark.parametrize("name", SAMPLES)
class TestPage:
    def test_every_text_is_there_on_one_line_and_unchanged(self, name: str) -> None:
        found = written(tree(name))
        for text in texts_of(SAMPLES[name]()):
            assert one_line(text) in found

    def test_ids_are_unique_and_every_reference_has_its_end(self, name: str) -> None:
        ids = [element.attrib["id"] for element in tree(name).iter() if "id" in element.attrib]
        assert len(ids) == len({*ids})
        assert not [ident for ident in ids if re.search(r"\s", ident)]
        values = [value for element in tree(name).iter() for value in element.attrib.values()]
        named = [part for value in values for part in re.findall(r"url\(#([^)]*)\)", value)]
        named += [element.attrib["href"][1:] for element in tree(name).iter()
                  if element.attrib.get("href", "").startswith("#")]  # fmt: skip
        named += [part for element in tree(name).iter() for part in element.get("aria-labelledby", "").split()]
        assert {*named} <= {*ids}
        assert len(named) > 50

    def test_headings_are_in_order_and_each_chapter_has_its_own(self, name: str) -> None:
        levels = [int(element.tag[1]) for element in tree(name).iter() if element.tag in {"h1", "h2", "h3", "h4"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
        names = [section.attrib["id"] for section in tree(name).iter("section")]
        chapters = [chapter.name for chapter in SAMPLES[name]().chapters]
        assert names == [*chapters[:-1], "sources", chapters[-1]]
        assert [link.attrib["href"] for nav in tree(name).iter("nav") for link in nav.iter("a")] == [
            f"#{one}" for one in names
        ]

    def test_it_says_what_it_is(self, name: str) -> None:
        root = tree(name)
        assert root.attrib["lang"] == "en"
        assert [written(one) for one in root.findall("head/title")] == [one_line(SAMPLES[name]().title)]
        assert "width=device-width" in page(name).split("</head>")[0]

    def test_tables_say_what_their_heads_are_heads_of(self, name: str) -> None:
        for table in tree(name).iter("table"):
            assert {head.get("scope") for part in table.findall("thead") for head in part.iter("th")} == {"col"}
            rows = [[*row] for part in table.findall("tbody") for row in part.iter("tr")]
            assert {(row[0].tag, row[0].get("scope")) for row in rows} == {("th", "row")}
            assert {cell.tag for row in rows for cell in row[1:]} == {"td"}
            assert written(next(table.iter("caption")))

    def test_nothing_comes_from_elsewhere_and_only_its_own_script_may_run(self, name: str) -> None:
        root = tree(name)
        loaded = [element.attrib[key] for element in root.iter() for key in ("src", "srcset", "data", "action")
                  if key in element.attrib]  # fmt: skip
        assert not loaded
        assert {one.attrib["href"] for one in root.iter("link")} == {"data:,"}
        assert not re.search(r"@import|url\((?!#)", page(name))
        (script,) = root.iter("script")
        assert "alert" not in written(script)
        digest = base64.b64encode(hashlib.sha256((script.text or "").encode()).digest()).decode()
        (policy,) = (one.attrib["content"] for one in root.iter("meta") if "http-equiv" in one.attrib)
        assert f"default-src 'none'; script-src 'sha256-{digest}';" in policy

    def test_no_text_becomes_an_element_or_an_attribute(self, name: str) -> None:
        tags = {element.tag.rpartition("}")[2] for element in tree(name).iter()}
        assert not tags & {"img", "iframe", "object", "form", "foreignObject"}
        assert not [key for element in tree(name).iter() for key in element.attrib if key.startswith("on")]
        links = [element.attrib["href"] for element in tree(name).iter("a")]
        assert [link for link in links if not link.startswith(("#", "http://", "https://"))] == []


def test_the_title_of_a_table_cannot_leave_its_attribute() -> None:
    title = '" onmouseover="alert(1)" x="'
    section = Section(title, [Column("a")], [["x"]])
    root = parsed(render(Report("A", (), [Chapter("one", "One", sections=[section])], ())))
    assert [element for element in root.iter() if title in element.attrib.values()]
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]


class TestLinks:
    def test_a_number_of_a_source_leads_to_it_and_another_is_text(self) -> None:
        (note,) = (item for item in tree("small").iter("li") if written(item).startswith("[4] is no"))
        assert [(written(link), link.attrib["href"]) for link in note.iter("a")] == [("[3]", "#source-3")]

    def test_sources_are_listed_in_their_order_with_their_addresses(self) -> None:
        items = [item for item in tree("small").iter("li") if item.get("id", "").startswith("source-")]
        assert [item.get("id") for item in items] == ["source-1", "source-2", "source-3"]
        assert [[link.attrib["href"] for link in item.iter("a")] for item in items] == [
            [source.url] if source.url else [] for source in SOURCES
        ]
        assert written(items[0]).startswith("[1] Maker's sheet (vendor; read: original)")

    def test_without_sources_there_is_no_chapter_of_them(self) -> None:
        text = render(Report("A", (), [Chapter("one", "One", ["See [1]."])], ()))
        assert "sources" not in {section.get("id") for section in parsed(text).iter("section")}
        assert 'href="#source' not in text


class TestPictures:
    def test_what_is_of_two_is_apart_and_colours_are_no_references(self) -> None:
        one = illustration("a", "A title")
        two = [
            inlined(one.render(".svg"), prefix=prefix, title="A title", alt="B").markup for prefix in ("x-", "y-")
        ]
        ids = [{*re.findall(r' id="([^"]*)"', text)} for text in two]
        assert ids[0]
        assert not ids[0] & ids[1]
        assert all(ident.startswith("x-") for ident in ids[0])
        assert 'fill="#ffffff"' in two[0], "of the ground behind a hatch"

    def test_it_scales_and_its_file_s_styles_stay_out_of_the_page(self) -> None:
        for svg in (element for element in tree("small").iter() if element.tag.endswith("}svg")):
            assert "viewBox" in svg.attrib
            assert not {"width", "height"} & {*svg.attrib}
            assert svg.attrib["role"] == "img"
            assert [child.tag.rpartition("}")[2] for child in svg][:2] == ["title", "desc"]
        assert page("small").count("<style") == 1
        assert "<metadata" not in page("small")

    def test_a_title_that_it_shows_itself_is_found_over_its_lines(self) -> None:
        title = (
            "What is left of all that there was before the cut, at this price and that size, is but a sixth part"
        )
        file = illustration("a", title).render(".svg")
        assert file.decode().count(title) == 0, "it is written in two lines"
        assert inlined(file, prefix="x", title=title, alt="").titled
        assert not inlined(file, prefix="x", title="Another", alt="").titled

    def test_letters_beyond_ascii_stay(self) -> None:
        image = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><text>8192³ – é</text></svg>'
        assert "8192³ – é" in inlined(image.encode(), prefix="p", title="a", alt="b").markup


class TestSorting:
    def test_rates_are_in_order_whatever_their_prefix(self) -> None:
        assert sort_keys(RATES) == [744.8e12, 1.2e15, 0.9e12, None, 12e12, None]
        assert sorted(BY_SIZE, key=lambda text: sort_key(text) or 0.0) == BY_SIZE

    def test_the_number_that_a_text_begins_with(self) -> None:
        assert {text: sort_key(text) for text in NUMBERS} == pytest.approx(NUMBERS)

    def test_a_word_a_date_or_a_version_is_no_number(self) -> None:
        assert [text for text in NO_NUMBERS if sort_key(text) is not None] == []

    def test_a_column_of_words_is_sorted_as_words(self) -> None:
        assert sort_keys(["4 chips", "all chips", "most chips"]) == [None] * 3
        assert sort_keys(["4", "?", "none", ""]) == [4, None, None, None]

    def test_cells_carry_their_numbers(self) -> None:
        root = one_table([Column("a"), Column("b", "right")], [["x", "2 ms"], ["y", "?"]])
        assert [cell.get("data-sort") for cell in root.iter("td")] == ["0.002", None]


def parts(colour: str) -> list[float]:
    """Red, green and blue of '#rrggbb', each from 0 to 1."""
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


class TestColours:
    def test_every_text_is_read_on_every_ground_in_both_schemes(self) -> None:
        style = page("small").split("<style>")[1].split("</style>")[0]
        light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", block))
                       for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL))  # fmt: skip
        inks = {*re.findall(r"[^-]color: var\(--([\w-]+)\)", style)}
        grounds = {*re.findall(r"background: var\(--([\w-]+)\)", style)}
        assert (inks, grounds) == ({"ink", "soft", "link"}, {"page", "panel"})
        for scheme, ink, ground in product((light, dark), inks, grounds):
            assert contrast(parts(scheme[ink]), parts(scheme[ground])) >= 4.5, (ink, ground)
        assert light != dark


def test_the_hostile_texts_are_hostile_still() -> None:
    """Else the tests above hold for a harmless page."""
    naive = f"<!doctype html><title>x</title><p>{'</p><p>'.join(HOSTILE[:3])}</p>"
    root = html5lib.HTMLParser(namespaceHTMLElements=False).parse(naive)
    assert [*root.iter("script")]
    assert [*root.iter("img")]
