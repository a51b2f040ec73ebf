"""The report in a real browser: it can be read, printed, sorted and filtered; it asks nobody and runs no text."""

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from pypdf import PdfReader
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.print_page_options import PrintOptions
from selenium.webdriver.remote.webelement import WebElement

from bench.cli import report as command
from bench.report.chapters.base import Report
from bench.report.documents.html import render
from tests.contrast import contrast, luminance
from tests.report_samples import RATES, hostile, small

pytestmark = pytest.mark.browser

BROWSER, DRIVER = (shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver"))
OPTIONS: Final = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
PHONE, LAPTOP, PAPER = 360, 1280, 1017  # px; the last is the width of A4's long side within its margins
MOST_BYTES: Final = 1_500_000
SCHEMES: Final = ("light", "dark")
# Every text that is to be seen, with its colour and the one behind it.
COLOURS: Final = """
const seen = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const opaque = (colour) => !/^rgba\\(.*, 0\\)$/.test(colour);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const box = element.getBoundingClientRect();
  if (!walker.currentNode.data.trim() || element.closest("script, style, title, desc") || box.width <= 1) continue;
  const style = getComputedStyle(element);
  let behind = element;
  while (behind && !opaque(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const ink = element.closest("svg") ? style.fill : style.color;
  const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
  seen.push([walker.currentNode.data.trim(), ink, ground]);
}
return seen;
"""
RIGHTMOST: Final = (
    "return Math.max(...[...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right))"
)


@cache
def real() -> Report:
    """The report of what is committed here, as `chipbench report` writes it."""
    return command._report((), (), Path(__file__).resolve().parent.parent / "results", None, skip_bad=False)[0]


REPORTS: Final[Mapping[str, Callable[[], Report]]] = {"small": small, "hostile": hostile, "real": real}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium with its chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, make in REPORTS.items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(render(make()), encoding="utf-8")
    return found


def show(
    browser: webdriver.Chrome, page: Path, *, width: int = LAPTOP, scheme: str = "light", media: str = ""
) -> None:
    """Open a page in a window of this width, in a colour scheme, as on the screen or on paper."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    for log in ("browser", "performance"):
        logged(browser, log)  # which empties it
    browser.get(page.as_uri())


def logged(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """What the browser wrote to a log since it was last asked."""
    return list(browser.get_log(kind))  # type: ignore[no-untyped-call]


def check_quiet(browser: webdriver.Chrome, page: Path) -> None:
    """Nothing was complained of since the page was opened, and nothing but the page was asked for."""
    assert logged(browser, "browser") == []
    events = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    asked = {
        event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}


def check_complete(browser: webdriver.Chrome, report: Report) -> None:
    """Every chapter, picture and row is there and is shown."""
    for chapter in report.chapters:
        section = browser.find_element(By.ID, chapter.name)
        pictures = section.find_elements(By.TAG_NAME, "svg")
        assert len([one for one in pictures if one.size["height"] > 100]) == len(chapter.pictures)
        rows = section.find_elements(By.CSS_SELECTOR, "tbody tr")
        assert len([row for row in rows if row.is_displayed()]) == sum(len(one.rows) for one in chapter.sections)


def check_readable(browser: webdriver.Chrome) -> None:
    """Every text differs enough from what is behind it."""
    found = browser.execute_script(COLOURS)
    assert len(found) > 50
    bad = [one for one in found if contrast(rgb(one[1]), rgb(one[2])) < 4.5]
    assert bad == []


def check_fits(browser: webdriver.Chrome) -> None:
    """The page cannot be moved to the side, only tables and pictures in it."""
    width, window = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= window


def printed(browser: webdriver.Chrome) -> list[str]:
    """The texts of the pages on paper."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    options = PrintOptions()
    options.orientation = "landscape"
    content = base64.b64decode(browser.print_page(options))
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(content)).pages]


class TestShown:
    @pytest.mark.parametrize("name", REPORTS)
    def test_it_is_whole_silent_and_asks_nobody(
        self, name: str, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages[name])
        check_complete(browser, REPORTS[name]())
        check_quiet(browser, pages[name])
        assert pages[name].stat().st_size <= MOST_BYTES

    def test_without_scripts_it_is_as_whole(self, browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            show(browser, pages["small"])
            assert not browser.find_elements(By.CSS_SELECTOR, "button, input")
            check_complete(browser, small())
        finally:
            browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    @pytest.mark.parametrize("scheme", SCHEMES)
    @pytest.mark.parametrize("name", REPORTS)
    def test_it_can_be_read_on_a_phone_and_a_laptop(
        self, name: str, scheme: str, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        for width in (PHONE, LAPTOP):
            show(browser, pages[name], width=width, scheme=scheme)
            check_fits(browser)
            check_readable(browser)

    def test_the_schemes_differ(self, browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
        grounds = []
        for scheme in SCHEMES:
            show(browser, pages["small"], scheme=scheme)
            grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert luminance(rgb(grounds[0])) > 0.9
        assert luminance(rgb(grounds[1])) < 0.05

    def test_no_text_ran(self, browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
        show(browser, pages["hostile"])
        assert browser.execute_script("return document.querySelectorAll('script').length") == 1
        box = browser.find_element(By.CSS_SELECTOR, ".filter input")
        box.send_keys("<img src=x onerror=alert(1)>")
        for button in browser.find_elements(By.CSS_SELECTOR, "#first thead .sort")[:4]:
            press(browser, button)
        # An open alert would have made any of the above fail.
        check_quiet(browser, pages["hostile"])

    def test_what_scrolls_can_be_reached_by_the_keyboard(
        self, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages["small"], width=PHONE)
        boxes = "return [...document.querySelectorAll('.scroll')]"
        told = browser.execute_script(f"{boxes}.map(box => [box.scrollWidth > box.clientWidth, box.tabIndex])")
        found = {(wide, index) for wide, index in told}
        assert found == {(True, 0), (False, -1)}


class TestPrinted:
    def test_all_of_it_with_the_heads_of_a_long_table_on_each_of_its_pages(
        self, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages["small"], scheme="dark")
        texts = printed(browser)
        assert "the last word" in texts[-1]
        holding = [text for text in texts if "chip-sxm" in text]
        assert len(holding) >= 2
        assert all("rule" in text.split("chip-sxm")[0] for text in holding)

    def test_the_real_one_goes_on_paper_to_its_last_chapter(
        self, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages["real"])
        texts = printed(browser)
        titles = [chapter.title for chapter in real().chapters]
        assert [title for title in titles if not any(title in text for text in texts)] == []
        show_on_paper(browser)
        assert browser.execute_script(RIGHTMOST) <= PAPER

    def test_the_widest_table_fits_the_paper_whole_though_filtered(
        self, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages["small"])
        browser.find_element(By.CSS_SELECTOR, ".filter input").send_keys("chip-sxm7-")
        show_on_paper(browser)
        assert browser.execute_script(RIGHTMOST) <= PAPER
        assert len(shown(browser, "rule")) == 46

    def test_words_without_end_fit_the_paper_too(self, browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
        show(browser, pages["hostile"])
        show_on_paper(browser)
        assert browser.execute_script(RIGHTMOST) <= PAPER

    def test_on_paper_it_is_light(self, browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
        show(browser, pages["small"], width=PAPER, scheme="dark", media="print")
        check_readable(browser)
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert luminance(rgb(ground)) == 1
        assert not browser.find_element(By.TAG_NAME, "nav").is_displayed()


class TestTables:
    def test_a_column_is_sorted_up_down_and_back(self, browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
        show(browser, pages["small"])
        head = browser.find_element(By.CSS_SELECTOR, "#published thead th:nth-child(2)")
        up = [RATES[2], RATES[4], RATES[0], RATES[1], "–", "none"]
        before = [*RATES[:-1], "–"]
        for order, said in ((up, "ascending"), ([*up[3::-1], *up[4:]], "descending"), (before, None)):
            press(browser, head.find_element(By.CLASS_NAME, "sort"))
            found = column(browser, 2)
            assert found[:4] == order[:4]
            assert sorted(found) == sorted(before)
            assert head.get_dom_attribute("aria-sort") == said
        assert found == before

    def test_sorting_by_another_column_forgets_the_first(
        self, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages["small"])
        heads = browser.find_elements(By.CSS_SELECTOR, "#published .section:first-of-type thead th")
        for head in (heads[0], heads[2]):
            press(browser, head.find_element(By.CLASS_NAME, "sort"))
        assert [head.get_dom_attribute("aria-sort") for head in heads] == [None, None, "ascending"]
        assert heads[2].find_element(By.TAG_NAME, "a").text == "[3]", "a head's link is no part of its button"

    def test_a_long_table_is_filtered_by_words_and_a_short_one_has_no_box(
        self, browser: webdriver.Chrome, pages: dict[str, Path]
    ) -> None:
        show(browser, pages["small"])
        assert not browser.find_elements(By.CSS_SELECTOR, "#published .filter")
        box = browser.find_element(By.CSS_SELECTOR, "#rule .filter input")
        box.send_keys("SXM7- presumed")
        assert [row.split()[0] for row in shown(browser, "rule")] == ["chip-sxm7-80gb"]
        assert browser.find_element(By.CSS_SELECTOR, "#rule output").text == "1 of 46 rows"
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(Keys.DELETE)
        assert len(shown(browser, "rule")) == 46


def press(browser: webdriver.Chrome, button: WebElement) -> None:
    """Press a button by the keyboard, wherever it is scrolled to."""
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)


def shown(browser: webdriver.Chrome, chapter: str) -> list[str]:
    """The rows of a chapter's tables that are shown."""
    return [
        row.text for row in browser.find_elements(By.CSS_SELECTOR, f"#{chapter} tbody tr") if row.is_displayed()
    ]


def column(browser: webdriver.Chrome, number: int) -> list[str]:
    """The cells of a column of the table of rates."""
    cells = browser.find_elements(By.CSS_SELECTOR, f"#published tbody td:nth-child({number})")
    return [cell.text for cell in cells][: len(RATES)]


def show_on_paper(browser: webdriver.Chrome) -> None:
    """Lay the open page out as on paper."""
    size: dict[str, Any] = {"width": PAPER, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})


def rgb(colour: str) -> list[float]:
    """Return the red, green and blue of a colour as a browser tells it: 'rgb(1, 2, 3)'."""
    return [float(part) / 255 for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
