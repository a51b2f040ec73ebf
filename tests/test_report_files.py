"""`chipbench report` and the files that it writes: as what, where, and what it refuses to write or to lose."""

import errno
import os
from pathlib import Path

import pytest

from bench.cli import report
from bench.report.documents import FILES, FOLDERS
from tests.command import Answer, chipbench
from tests.report_samples import small
from tests.test_compare_command import GPU, H100, saved


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHIPBENCH_RESULTS", raising=False)
    return tmp_path


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small report in the place of whatever would be computed."""
    monkeypatch.setattr(report, "_report", lambda *_args, **_more: (small(), []))


@pytest.mark.usefixtures("sample")
class TestFiles:
    def test_the_usual_one_is_a_page_here(self) -> None:
        answer = chipbench("report")
        assert (answer.code, answer.out, answer.err) == (0, "", "saved chipbench-report.html\n")
        assert Path("chipbench-report.html").read_bytes().startswith(b"<!doctype html>")

    @pytest.mark.parametrize(("name", "begins"), [("r.md", "# "), ("r.TEX", "\\documentclass"), ("r.json", "{")])
    def test_the_suffix_says_as_what(self, name: str, begins: str) -> None:
        assert chipbench("report", "-o", name).code == 0
        assert begins in Path(name).read_text(encoding="utf-8")[:400]

    def test_a_format_goes_before_the_suffix(self) -> None:
        assert chipbench("report", "-o", "r.txt", "--format", "md").code == 0
        assert Path("r.txt").read_text(encoding="utf-8").startswith("# ")

    def test_the_formats_are_those_that_can_be_written(self) -> None:
        assert {name: one.suffix for name, one in FILES.items()} == {k: s for k, s in report.SUFFIXES.items() if s}
        assert {*FOLDERS} == {name for name, suffix in report.SUFFIXES.items() if not suffix}

    @pytest.mark.parametrize(
        ("name", "link"), [("docs/r.md", "](../pictures/{}.svg)"), ("docs/r.tex", "../pictures/{}.png")]
    )
    def test_the_pictures_can_be_saved_too_and_the_document_names_them(
        self, name: str, link: str, folder: Path
    ) -> None:
        (folder / "docs").mkdir()
        answer = chipbench("report", "-o", name, "--plots", "pictures")
        assert answer.code == 0, answer.err
        pictures = [one.name for chapter in small().chapters for one in chapter.pictures]
        assert pictures
        assert {path.name for path in Path("pictures").iterdir()} == {
            f"{one}{suffix}" for one in pictures for suffix in (".svg", ".png")
        }
        text = Path(name).read_text(encoding="utf-8")
        assert all(link.format(one) in text for one in pictures)


@pytest.mark.usefixtures("sample")
class TestRefused:
    @pytest.mark.parametrize(
        ("args", "why"),
        [
            (["-o", "there.html"], "there.html: exists already; name another file, or replace it with --force"),
            (["-o", "sub"], "sub: is a folder; name a file to write"),
            (["-o", "none/r.html"], "none/r.html: there is no folder none; make it first"),
            (["-o", "r.html", "--plots", "there.html"], "there.html: is no folder; name one, or one to be made"),
            (["-o", "r.html", "--plots", "none/p"], "none/p: there is no folder none to make it in"),
            (["--format", "csv", "-o", "there.html"], "there.html: is no folder"),
        ],
    )
    def test_where_nothing_can_be_written_nothing_is_computed(
        self, args: list[str], why: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "there.html").write_text("precious")
        (folder / "sub").mkdir()
        monkeypatch.setattr(report, "_report", None)
        answer = chipbench("report", *args)
        assert answer.code == 7
        assert why in answer.error
        assert {path.name for path in folder.iterdir()} == {"there.html", "sub"}
        assert (folder / "there.html").read_text() == "precious"

    @pytest.mark.parametrize(
        ("args", "why"),
        [
            (
                ["-o", "tables.csv"],
                "-o tables.csv: .csv is none of .html, .md, .tex, .json; name one of those, or say",
            ),
            (["-o", "r.pdf"], "-o r.pdf: .pdf is none of"),
            (["-o", ""], "an empty name stands for nothing"),
            (
                ["-o", "r.html", "--plots", "./r.html"],
                "--plots r.html: is what -o names; give the pictures a folder",
            ),
        ],
    )
    def test_what_would_be_something_else_than_its_name_says_is_refused(
        self, args: list[str], why: str, folder: Path
    ) -> None:
        answer = chipbench("report", *args)
        assert answer.code == 2
        assert why in answer.error
        assert [*folder.iterdir()] == []

    def test_here_is_a_folder_too_and_so_is_one_behind_a_link(self, folder: Path) -> None:
        (folder / "real").mkdir()
        (folder / "link").symlink_to("real")
        for place in (".", "link"):
            assert chipbench("report", "--format", "csv", "-o", place).code == 0
        assert (folder / "sources.csv").read_bytes() == (folder / "real" / "sources.csv").read_bytes()
        assert not list(folder.rglob(".chipbench-*"))

    def test_pictures_are_not_saved_if_the_document_cannot_be(self, folder: Path) -> None:
        (folder / "out").mkdir()
        (folder / "out" / "sources.csv").write_text("mine")
        answer = chipbench("report", "--format", "csv", "-o", "out", "--plots", "pictures")
        assert answer.code == 7
        assert not (folder / "pictures").exists()

    def test_a_loop_of_links_is_no_folder(self, folder: Path) -> None:
        (folder / "loop").symlink_to("loop")
        answer = chipbench("report", "-o", "r.html", "--plots", "loop")
        assert answer.code == 7
        assert "loop: cannot be written (" in answer.error

    def test_a_link_in_the_place_of_a_picture_is_left_as_it_is(self, folder: Path) -> None:
        (folder / "pictures").mkdir()
        (folder / "pictures" / "one.svg").symlink_to("nowhere")
        answer = chipbench("report", "-o", "r.html", "--plots", "pictures", "--force")
        assert answer.code == 7
        assert "one.svg: is a link" in answer.last_error
        assert {path.name for path in (folder / "pictures").iterdir()} == {"one.svg"}

    def test_csv_has_no_one_text_to_print(self) -> None:
        answer = chipbench("report", "--format", "csv", "-o", "-")
        assert (answer.code, answer.error) == (2, "chipbench: -o -: csv is one file a table; name a folder")

    def test_a_table_that_is_there_is_not_lost_without_force(self, folder: Path) -> None:
        assert chipbench("report", "--format", "csv", "-o", "out").code == 0
        (folder / "out" / "sources.csv").write_text("mine")
        (folder / "out" / "other.txt").write_text("mine too")
        answer = chipbench("report", "--format", "csv", "-o", "out")
        assert answer.code == 7
        assert (folder / "out" / "sources.csv").read_text() == "mine"
        assert chipbench("report", "--format", "csv", "-o", "out", "--force").code == 0
        assert (folder / "out" / "sources.csv").read_text() != "mine"
        assert (folder / "out" / "other.txt").read_text() == "mine too"

    @pytest.mark.parametrize("args", [["-o", "r.html"], ["--format", "csv", "-o", "out"]])
    def test_a_full_disk_leaves_no_half_behind(
        self, args: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[int] = []

        def full(descriptor: int) -> None:
            done.append(descriptor)
            if len(done) > (1 if "csv" in args else 0):
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        answer: Answer = chipbench("report", *args)
        assert answer.code == 7
        assert "(No space left on device)" in answer.last_error
        assert [*folder.iterdir()] == []


def test_a_record_that_it_was_made_of_is_never_overwritten(folder: Path) -> None:
    saved(folder / "own", (1.0,), GPU, device=H100)
    record = next((folder / "own").rglob("*.jsonl"))
    before = record.read_bytes()
    answer = chipbench("report", record, "-o", record, "--format", "html", "--force")
    assert answer.code == 7
    assert "is one of the records that were read; name another file" in answer.last_error
    assert record.read_bytes() == before
