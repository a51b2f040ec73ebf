"""What went wrong once with records of several devices: races, half lines, places that lie, hang or are late."""

import resource
import signal
from pathlib import Path

import msgspec
import pytest

from bench.errors import BackendUnavailable, CannotWrite, InvalidRequest
from bench.measure.policy import Policy
from bench.records.merge import carry_out, check_merge
from bench.records.record import decode_line, encode_line, read_lines
from bench.records.store import KEY_FILE, RecordWriter, record_paths
from bench.run import collecting, member, session, several
from bench.run.collecting import Progress, measure_several
from bench.run.engine import Answered, LeftOut
from bench.run.planning import Resolved
from bench.run.resuming import fleet_of_record
from bench.run.several import arrange
from bench.workloads.base import Plan
from tests.places_lab import CPU, GPU, KEY, Site, Unit, gone, lost, request
from tests.support import CELLS, cell
from tests.test_collecting import (
    Clock,
    complete,
    errors,
    no_file_stays_open,
    resume,
    run,
    site,
)

__all__ = ["no_file_stays_open", "site"]  # fixtures


class TestResume:
    def test_what_another_process_completes_meanwhile_is_left_alone(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the first look and the lock: a second footer would be damage."""
        site.faults = {"a": lost(1), "c": lost(2)}
        before, _ = run(site, tmp_path)
        site.faults.clear()
        reopen = RecordWriter.reopen

        def late(path: Path, *, wait_s: float = 0.0) -> object:
            monkeypatch.setattr(RecordWriter, "reopen", reopen)
            resume(site, before[0].path, tmp_path)
            return reopen(path, wait_s=wait_s)

        monkeypatch.setattr(RecordWriter, "reopen", late)
        resume(site, before[0].path, tmp_path)
        assert complete(before) == [True] * 3
        assert [read_lines(one.path).resumed for one in before] == [2, 0, 2]

    def test_only_its_own_run_is_gone_on_with(self, site: Site, tmp_path: Path) -> None:
        site.faults = {"a": lost(1)}
        first, _ = run(site, tmp_path)
        second, _ = run(site, tmp_path)
        site.faults.clear()
        resume(site, first[0].path, tmp_path)
        assert complete(first) == [True] * 3
        assert complete(second) == [False, True, True]

    def test_a_copy_of_a_record_is_not_taken_for_another(self, site: Site, tmp_path: Path) -> None:
        site.faults = {"a": lost(1)}
        before, _ = run(site, tmp_path)
        site.faults.clear()
        copy = tmp_path / "results" / "copies" / before[0].path.name
        copy.parent.mkdir()
        copy.write_bytes(before[0].path.read_bytes())
        resume(site, before[0].path, tmp_path)
        assert complete(before) == [True] * 3
        assert read_lines(copy).footer is None

    def test_a_record_away_from_its_folder_is_not_resumed_and_nothing_is_made_there(
        self, site: Site, tmp_path: Path
    ) -> None:
        before, _ = run(site, tmp_path)
        moved = tmp_path / "elsewhere" / "gpus" / before[0].path.name
        moved.parent.mkdir(parents=True)
        moved.write_bytes(before[0].path.read_bytes())
        with pytest.raises(InvalidRequest, match=r"has no \.key"):
            fleet_of_record(moved)
        assert not (tmp_path / "elsewhere" / KEY_FILE).exists()

    def test_merged_elsewhere_with_the_key_it_is(self, site: Site, tmp_path: Path) -> None:
        site.faults = {"a": lost(1)}
        before, _ = run(site, tmp_path)
        merged = tmp_path / "merged"
        merged.mkdir()
        (merged / KEY_FILE).write_bytes(KEY)
        carry_out(check_merge([one.path for one in before], merged))
        assert len(fleet_of_record(record_paths(merged)[0])) == 3

    def test_the_backend_is_the_record_s(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        here = Site(monkeypatch, {"a": Unit("1", CPU)}, {"a": "x"})
        here.faults = {"a": lost(1)}
        before, _ = run(here, tmp_path)
        here.started.clear()
        here.faults.clear()
        resume(here, before[0].path, tmp_path)
        (look,) = (job for _, job in here.started if isinstance(job, member.Look))
        assert look.backend == "cpu"

    def test_processes_that_share_a_cpu_keep_their_places_apart(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        here = Site(monkeypatch, {"a": Unit("1", CPU), "b": Unit("1", CPU)}, {"a": "x", "b": "x"})
        here.faults = {"a": lost(1), "b": lost(1)}
        before, _ = run(here, tmp_path, processes=2)
        assert complete(before) == [False] * 4
        here.started.clear()
        here.faults.clear()
        resume(here, before[0].path, tmp_path)
        assert complete(before) == [True] * 4
        assert sorted(here.jobs(member.Measure)) == ["a", "a", "b", "b"]


class TestWriting:
    def test_nothing_follows_half_a_line(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that is full for a moment: what was written of a line stays the end of the record."""
        append, count = RecordWriter.append, iter(range(100))

        def full(writer: RecordWriter, line: object) -> None:
            if next(count) == 4:
                with writer.path.open("ab") as file:
                    file.write(b'{"kind":"measurement"')
                message = "the disk is full"
                raise CannotWrite(message)
            append(writer, line)  # type: ignore[arg-type]

        monkeypatch.setattr(RecordWriter, "append", full)
        collected, stopped_by = run(site, tmp_path)
        assert isinstance(stopped_by, CannotWrite)
        assert len([read_lines(one.path) for one in collected]) == 3  # a torn tail is no damage
        assert "the disk is full" in errors(collected)

    def test_ctrl_c_comes_before_a_cell_or_after_it(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pressed as the last cell is about to be written: its footer must not be there without it."""
        append, count = RecordWriter.append, iter(range(100))

        def pressed(writer: RecordWriter, line: object) -> None:
            if next(count) == 5:
                signal.raise_signal(signal.SIGINT)
            append(writer, line)  # type: ignore[arg-type]

        monkeypatch.setattr(RecordWriter, "append", pressed)
        collected, stopped_by = run(site, tmp_path)
        assert isinstance(stopped_by, KeyboardInterrupt)
        assert len([read_lines(one.path) for one in collected]) == 3


class TestNotBelieved:
    @pytest.mark.parametrize(
        "changed",
        [
            {"key": "uuid GPU-1234"},
            {"key": None},
            {"host_key": "/home/somebody"},
            {"host": "node17"},
            {"kind": "abacus"},
            {"memory_bytes": 10**30},
            {"sm_count": -1},
            {"folder": "../../evil"},
            {"folder": "x" * 300},
        ],
    )
    def test_a_device_that_cannot_be_is_left_out_and_the_others_measured(
        self, site: Site, tmp_path: Path, changed: dict[str, object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = session.told_apart

        def lies(device: object, identity: str, key: bytes) -> object:
            found = told(device, identity, key)  # type: ignore[arg-type]
            return msgspec.structs.replace(found, **changed) if identity == "b" else found

        monkeypatch.setattr(member, "told_apart", lies)
        begun = arrange(site, request(tmp_path), KEY, indices=dict.fromkeys(site.places()), together=False)
        assert [one.place for one in begun.begun] == ["a", "c"]
        assert [one.place for one in begun.left_out] == ["b"]

    def test_a_plan_that_no_record_can_have_is_refused(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        odd = Plan(workload="gemm", cells=(msgspec.structs.replace(cell(), regime="sustained:x"),))
        monkeypatch.setattr(member, "resolve", lambda *_: Resolved(odd, Policy(), ()))
        with pytest.raises(BackendUnavailable, match="no record can be made of what it says"):
            arrange(site, request(tmp_path), KEY, indices=dict.fromkeys(site.places()), together=False)
        assert record_free(tmp_path)

    @pytest.mark.parametrize("line", [b"[" * 100_000 + b"\n", b'{"kind":"seen","tool":' + b"9" * 5000 + b"}\n"])
    def test_an_answer_that_no_reader_can_read_is_none(self, line: bytes) -> None:
        assert member.answer_of(line) is None

    def test_the_reason_names_the_line_and_no_file(self, site: Site, tmp_path: Path) -> None:
        def other(lines: list[bytes]) -> None:
            lines[1] = encode_line(decode_line(Path(), 2, lines[0]))

        site.faults["a"] = other
        collected, _ = run(site, tmp_path)
        said = str(errors(collected)[0])
        assert said.startswith("it sent what is no line of its record: line 3: the cell was measured before")
        assert str(tmp_path) not in said
        assert "restore" not in said


def record_free(folder: Path) -> bool:
    """Whether there is no record below a folder."""
    return not [*folder.rglob("*.jsonl")]


class TestArranged:
    def test_workers_that_cannot_be_used_are_the_reason_if_nothing_else_is_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        here = Site(monkeypatch, {}, {})
        here.left_out["old"] = LeftOut("old", "it has chipbench 0.1.0")
        with pytest.raises(BackendUnavailable, match=r"^old: it has chipbench 0\.1\.0$"):
            arrange(here, request(tmp_path), KEY, indices={}, together=False)

    def test_a_first_of_a_kind_that_dies_leaves_the_plan_to_the_next(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = site.start

        def dying(place: str, number: int, job: bytes) -> None:
            start(place, number, job)
            if place == "a" and isinstance(site.started[-1][1], member.Resolve):
                site._messages = type(site._messages)(
                    one for one in site._messages if not (isinstance(one, Answered) and one.number == number)
                )

        site.start = dying  # type: ignore[method-assign]
        found = arrange(site, request(tmp_path), KEY, indices=dict.fromkeys(site.places()), together=False)
        assert [one.place for one in found.begun] == ["b", "c"]
        assert [(one.place, one.why) for one in found.left_out] == [("a", "it gave no answer")]

    def test_one_that_never_answers_is_left_out(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr(several, "monotonic", clock)
        site.silent.add("b")
        site.on_idle = lambda: setattr(clock, "now", clock.now + 60)
        found = arrange(site, request(tmp_path), KEY, indices=dict.fromkeys(site.places()), together=False)
        assert [(one.place, one.why) for one in found.left_out] == [("b", "it gave no answer within 600 s")]
        assert [one.place for one in found.begun] == ["a", "c"]

    def test_copies_are_planned_to_gpus_of_the_same_machine_only(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        gpus = [msgspec.structs.replace(GPU, index=index) for index in (0, 1)]
        units = {name: Unit(name, gpus[number]) for number, name in enumerate(("x0", "x1"))}
        units |= {name: Unit(name, gpus[number]) for number, name in enumerate(("y0", "y1"))}
        here = Site(monkeypatch, units, {name: name[0] for name in units})
        asked: dict[str, list[int]] = {}

        def resolve(unit: Unit, wish: object) -> tuple[object, ...]:
            asked[unit._own] = [*wish.peers]  # type: ignore[attr-defined]
            return CELLS

        here.resolve = resolve  # type: ignore[assignment]
        wish = request(tmp_path).wish._replace(workload="p2p")
        indices = {name: int(name[1]) for name in units}
        arrange(here, request(tmp_path, wish=wish), KEY, indices=indices, together=False)
        assert asked == {"x0": [1], "x1": [0], "y0": [1], "y1": [0]}


class TestFiles:
    def limits(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
        raised: list[tuple[int, int]] = []

        def set_limit(_what: int, limits: tuple[int, int]) -> None:
            if limits[0] > hard:
                message = "current limit exceeds maximum limit"
                raise ValueError(message)
            raised.append(limits)

        monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", set_limit)
        return raised

    def test_thousands_of_records_may_be_open_where_the_system_lets_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raised = self.limits(monkeypatch, 1024, 4096)
        collecting._allow_files(100)
        assert raised == []
        collecting._allow_files(2000)
        assert raised == [(2064, 4096)]

    def test_where_it_does_not_that_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits(monkeypatch, 1024, 4096)
        with pytest.raises(CannotWrite, match="the limit is 4096 files; raise it"):
            collecting._allow_files(10_000)


def test_progress_never_goes_back(site: Site, tmp_path: Path) -> None:
    asked = request(tmp_path / "results")
    site.faults["b"] = gone(site, "b", 2, back_at="d")
    begun = arrange(site, asked, KEY, indices=dict.fromkeys(site.places()), together=False).begun
    told: list[Progress] = []
    measure_several(site, begun, asked, told.append)
    assert [one.cells for one in told] == sorted(one.cells for one in told)
    assert told[-1].cells == 9
