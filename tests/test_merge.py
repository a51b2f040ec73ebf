"""Records of several folders in one: each once and whole, whatever the order, and nothing there is lost."""

import errno
import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import merge
from bench.records.merge import Checked, Merged, carry_out, check_merge, differing_keys
from bench.records.record import Header, read_lines
from bench.records.store import device_key, record_path
from tests.support import CELLS, header, measurement, write_record

DATA_FILES = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def memory_is_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def merged(results: Path, *sources: Path) -> list[Merged]:
    checked = check_merge(sources, results)
    assert not checked.refused
    return carry_out(checked)


def outcomes(found: Sequence[Merged]) -> list[tuple[str, int]]:
    return [(one.outcome, one.lines) for one in found]


def refusals(checked: Checked) -> dict[str, str]:
    return {one.path.name: str(one.error) for one in checked.refused}


def part(folder: Path, whole: Path, lines: int, torn: bytes = b"") -> Path:
    """Write a copy of a record that was interrupted after some lines."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{lines}-{whole.name}"
    path.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:lines]) + torn)
    return path


def other_end(folder: Path, ident: str = "0a1b2c3d", **more: object) -> Path:
    """Write a record of the same header whose first measurement is another one."""
    return write_record(folder, header(ident=ident), [measurement(CELLS[0], [2e-3] * 6)], complete=False)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("wholes")
    return [write_record(folder, header(ident=f"{index:08x}")).read_bytes() for index in range(2)]


class TestAnyOrder:
    # A copy: of which record, its whole lines of five, and how many bytes of the next one.
    copies = st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 5), st.sampled_from([0, 1, 40])), min_size=1, max_size=4
    )

    @settings(max_examples=40)
    @given(there=copies, brought=copies, data=st.data())
    def test_the_folder_comes_to_hold_the_same_bytes(
        self,
        there: list[tuple[int, int, int]],
        brought: list[tuple[int, int, int]],
        data: st.DataObject,
        wholes: list[bytes],
    ) -> None:
        def content(index: int, lines: int, torn: int) -> bytes:
            split = wholes[index].splitlines(keepends=True)
            return b"".join(split[:lines]) + b"".join(split[lines:])[:torn]

        longest: dict[int, int] = {}
        for index, lines, _ in [*there, *brought]:
            longest[index] = max(lines, longest.get(index, 0))
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            paths = []
            for number, copy in enumerate([*there, *brought]):
                paths.append(folder / f"{number}.jsonl")
                paths[-1].write_bytes(content(*copy))
            carry_out(check_merge(paths, folder / "together"))
            # One that is interrupted is there from the first source on, and then grows.
            one_by_one = data.draw(st.permutations([*paths, *paths[:2]]))
            for path in one_by_one:
                carry_out(check_merge([path], folder / "one by one"))
            expected = {
                str(record_path(Path(), header(ident=f"{index:08x}"))): content(index, lines, 0)
                for index, lines in longest.items()
            }
            assert tree(folder / "together") == tree(folder / "one by one") == expected

    def test_what_came_of_each_is_told_in_the_order_of_the_sources(self, tmp_path: Path, here: Path) -> None:
        whole = write_record(tmp_path / "a", header())
        sources = [part(tmp_path / "b", whole, lines) for lines in (2, 4, 1)]
        assert outcomes(merged(here, *sources)) == [("there already", 0), ("added", 0), ("there already", 0)]
        found = merged(here, sources[2], whole, part(tmp_path / "b", whole, 5))
        assert outcomes(found) == [("there already", 0), ("extended", 1), ("there already", 0)]
        (path,) = here.rglob("*.jsonl")
        assert {one.to for one in found} == {path}
        assert path.read_bytes() == whole.read_bytes()


class TestWhatIsThere:
    def test_a_record_lies_where_a_run_would_have_put_it(self, tmp_path: Path, here: Path) -> None:
        odd = tmp_path / "odd.jsonl"
        write_record(tmp_path / "a", header()).rename(odd)
        merged(here, odd)
        assert list(tree(here)) == ["cpu-simulated/20260102T030405Z-0a1b2c3d.jsonl"]

    def test_it_is_told_by_its_id_wherever_it_lies(self, tmp_path: Path, here: Path) -> None:
        whole = write_record(tmp_path / "a", header())
        path = part(here / "by hand", whole, 2)
        assert outcomes(merged(here, whole)) == [("extended", 3)]
        assert outcomes(merged(here, whole)) == [("there already", 0)]
        assert list(here.rglob("*.jsonl")) == [path]
        assert path.read_bytes() == whole.read_bytes()

    def test_two_copies_that_are_there_already_stay(self, tmp_path: Path, here: Path) -> None:
        whole = write_record(tmp_path / "a", header())
        parts = [part(here, whole, lines) for lines in (1, 3)]
        before = parts[0].read_bytes()
        assert outcomes(merged(here, *parts, whole)) == [
            ("there already", 0),
            ("there already", 0),
            ("extended", 2),
        ]
        assert [path.read_bytes() for path in parts] == [before, whole.read_bytes()]

    def test_a_folder_may_be_merged_into_itself(self, here: Path) -> None:
        paths = [write_record(here, header(ident=name)) for name in ("a", "b")]
        paths.append(other_end(here / "copies", "b"))
        before = tree(here)
        assert outcomes(merged(here, *paths)) == [("there already", 0)] * 3
        assert tree(here) == before

    def test_whole_lines_stay_and_only_the_torn_tail_goes(
        self, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = write_record(tmp_path / "a", header())
        path = part(here, whole, 3, b'{"kind":"measu')
        inode, kept = path.stat().st_ino, path.stat().st_size - 14
        cut: list[int] = []
        truncate = os.ftruncate

        def spied(descriptor: int, size: int) -> None:
            cut.append(size)
            truncate(descriptor, size)

        monkeypatch.setattr(os, "ftruncate", spied)
        merged(here, whole)
        assert (path.stat().st_ino, cut) == (inode, [kept])
        assert path.read_bytes() == whole.read_bytes()

    @pytest.mark.parametrize("schema", [1, 2, 3, 4, 5])
    def test_lines_of_an_older_schema_are_copied_as_they_are(
        self, schema: int, tmp_path: Path, here: Path
    ) -> None:
        whole = DATA_FILES / f"schema-{schema}.jsonl"
        merged(here, part(tmp_path, whole, 1))
        merged(here, whole)
        assert [*tree(here).values()] == [whole.read_bytes()]

    def test_what_cannot_be_read_there_is_told_and_left(self, tmp_path: Path, here: Path) -> None:
        here.mkdir()
        (here / "bad.jsonl").write_text("nonsense\n")
        checked = check_merge([write_record(tmp_path, header())], here)
        assert [str(error).split(": ")[0] for error in checked.unreadable] == [str(here / "bad.jsonl")]
        assert outcomes(carry_out(checked)) == [("added", 0)]
        assert (here / "bad.jsonl").read_text() == "nonsense\n"

    def test_other_files_of_a_source_stay_there(self, tmp_path: Path, here: Path) -> None:
        path = write_record(tmp_path / "a", header())
        device_key(tmp_path / "a", "m")
        merged(here, path)
        assert list(tree(here)) == [str(path.relative_to(tmp_path / "a"))]


class TestRefused:
    def test_copies_that_contradict_each_other_are_all(self, tmp_path: Path, here: Path) -> None:
        whole, other = write_record(tmp_path / "a", header()), other_end(tmp_path / "b")
        short = part(tmp_path / "c", whole, 1)
        checked = check_merge([short, whole, other], here)
        told = "and neither is the beginning of the other; find out which is true and move the other away"
        assert [str(one.error) for one in checked.refused] == [
            f"{short}: has the id of {whole} and {other}, which differ, {told}",
            f"{whole}: differs from {other}, which has the same id, {told}",
            f"{other}: differs from {whole}, which has the same id, {told}",
        ]
        assert outcomes(carry_out(checked)) == [("left out", 0)] * 3
        assert not here.exists()

    def test_of_one_that_is_there_only_what_contradicts_it_is(self, tmp_path: Path, here: Path) -> None:
        whole = write_record(here, header())
        other, shared = other_end(tmp_path / "b"), part(tmp_path / "c", whole, 1)
        before = tree(here)
        checked = check_merge([other, shared], here)
        assert outcomes(carry_out(checked)) == [("left out", 0), ("there already", 0)]
        assert checked.refused[0].why == f"differs from {whole}, which has the same id"
        assert tree(here) == before

    def test_copies_of_one_size_may_contradict_each_other(self, tmp_path: Path, here: Path) -> None:
        whole = write_record(here, header())
        other = part(tmp_path, whole, 5)
        other.write_bytes(whole.read_bytes().replace(b'"seconds":60.0', b'"seconds":61.0'))
        assert other.stat().st_size == whole.stat().st_size
        assert refusals(check_merge([other], here)).keys() == {other.name}

    @pytest.mark.parametrize("content", [b"", b"{}\n", b"whole\n", b"no newline"])
    def test_a_damaged_source_is_named(self, content: bytes, tmp_path: Path, here: Path) -> None:
        good, bad = write_record(tmp_path / "a", header()), tmp_path / "bad.jsonl"
        bad.write_bytes(content if content != b"whole\n" else good.read_bytes() + content)
        checked = check_merge([bad, good], here)
        assert refusals(checked)["bad.jsonl"].startswith(f"{bad}: damaged record: line ")
        assert outcomes(carry_out(checked)) == [("left out", 0), ("added", 0)]

    def test_it_can_be_told_by_another_process(self, tmp_path: Path, here: Path) -> None:
        """As many records are read in several, and what is found comes back pickled."""
        (tmp_path / "bad.jsonl").write_text("")
        found = merge._examined([write_record(tmp_path, header()), tmp_path / "bad.jsonl"])
        assert list(map(repr, pickle.loads(pickle.dumps(found)))) == list(map(repr, found))

    @pytest.mark.parametrize(
        "changed",
        [
            {"folder": "../../evil"}, {"folder": ".."}, {"folder": "."}, {"folder": ""}, {"folder": "/evil"},
            {"folder": ".hidden"}, {"folder": "a\nb"}, {"id": "../evil"}, {"id": "x/../../../evil"},
            {"id": "\0"},
        ],
    )  # fmt: skip
    def test_a_header_leads_nowhere_out_of_the_folder(
        self, changed: dict[str, str], tmp_path: Path, here: Path
    ) -> None:
        plain = msgspec.to_builtins(header())
        plain["device"] |= {"folder": changed.get("folder", "cpu-simulated")}
        plain |= {name: text for name, text in changed.items() if name != "folder"}
        hostile = tmp_path / "hostile.jsonl"
        hostile.write_bytes(msgspec.json.encode(plain) + b"\n")
        assert isinstance(read_lines(hostile).header, Header)
        why = refusals(check_merge([hostile], here))["hostile.jsonl"]
        assert why.startswith(f"{hostile}: damaged record: line 1: ")
        assert "which is no plain name" in why

    @pytest.mark.parametrize(
        "make",
        [
            Path.mkdir,
            Path.touch,
            lambda path: path.symlink_to("nowhere"),
            lambda path: write_record(path.parent, header(ident="b")).rename(path),
        ],
    )
    def test_something_else_in_its_place_stays(
        self, make: Callable[[Path], None], tmp_path: Path, here: Path
    ) -> None:
        source = write_record(tmp_path / "a", header())
        place = record_path(here, header())
        place.parent.mkdir(parents=True)
        make(place)
        checked = check_merge([source], here)
        assert refusals(checked)[source.name] == (
            f"{source}: belongs at {place}, where something else is; move that away"
        )
        assert [path for path in place.parent.iterdir() if not path.is_dir() or path == place] == [place]

    def test_a_symbolic_link_there_is_not_written_through(self, tmp_path: Path, here: Path) -> None:
        source = write_record(tmp_path / "a", header())
        outside = part(tmp_path / "b", source, 1)
        before = outside.read_bytes()
        place = record_path(here, header())
        place.parent.mkdir(parents=True)
        place.symlink_to(outside)
        checked = check_merge([source, outside], here)
        assert refusals(checked) == {
            source.name: f"{source}: belongs at {place}, where something else is; move that away"
        }
        assert outcomes(carry_out(checked))[1] == ("there already", 0)
        assert outside.read_bytes() == before
        assert place.is_symlink()


class TestKeys:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> list[Path]:
        folders = [tmp_path / name for name in ("a", "b", "c", "none")]
        for folder in folders[:3]:
            device_key(folder, "m")
        (folders[2] / ".key").write_bytes((folders[0] / ".key").read_bytes() + b"\n")
        return folders

    def test_each_other_one_is_told_once(self, folders: list[Path]) -> None:
        a, b, c, none = folders
        paths = [folder / "cpu-simulated" / f"{n}.jsonl" for folder in folders for n in range(2)]
        assert differing_keys(paths, a) == [a, b]
        assert differing_keys(paths, b) == [b, a]
        assert differing_keys(paths, none) == [a, b]
        assert differing_keys([c / "x" / "y.jsonl", a / "flat.jsonl"], none) == [c]
        assert differing_keys([none / "x" / "y.jsonl"], none) == []

    def test_one_that_may_not_be_read_counts_as_another(
        self, folders: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_path: Path) -> bytes:
            raise PermissionError(errno.EACCES, "Permission denied")

        a, _, c, _ = folders
        assert differing_keys([c / "x.jsonl"], a) == [a]
        monkeypatch.setattr(Path, "read_bytes", refuse)
        assert differing_keys([c / "x.jsonl"], a) == [a, c]
