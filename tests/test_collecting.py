"""Records of several devices: every line is kept as it comes, and whatever is lost costs no finished cell."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from bench.errors import BackendUnavailable, CannotWrite, InvalidRequest
from bench.records.record import encode_line, read_lines
from bench.records.store import RecordWriter, record_paths
from bench.run import collecting, member
from bench.run.collecting import Collected, Progress, measure_several, summary_error
from bench.run.engine import Ended, LeftOut, Message
from bench.run.resuming import fleet_of_record, places_for, resume_several
from bench.run.session import StoppedBy
from bench.run.several import arrange
from tests.places_lab import CPU, KEY, Site, Unit, gone, lost, refuse, request
from tests.support import cell, header, measurement, write_record


class Clock:
    """A clock that moves on only while nothing is heard."""

    def __init__(self, step: float = 1.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(autouse=True)
def no_file_stays_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(collecting, "monotonic", Clock())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / ".key").write_bytes(KEY)
    before = open_files()
    yield
    assert open_files() == before


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """Three GPUs, two of them in one machine."""
    units = {place: Unit(place) for place in "abc"}
    return Site(monkeypatch, units, {"a": "x", "b": "x", "c": "y"})


def run(
    site: Site, results: Path, *, processes: int = 1, together: bool = False
) -> tuple[list[Collected], StoppedBy | None]:
    asked = request(results / "results", processes=processes)
    begun = arrange(site, asked, KEY, indices=dict.fromkeys(site.places()), together=together).begun
    return measure_several(site, begun, asked, lambda _progress: None)


def resume(site: Site, record: Path, results: Path) -> tuple[list[Collected], Sequence[LeftOut], StoppedBy | None]:
    asked = request(results / "results")
    return resume_several(site, record, asked, dict.fromkeys(site.places()), lambda _progress: None)


def complete(collected: Sequence[Collected]) -> list[bool]:
    """Return of each record whether it is whole: each cell once, in order, and the footer."""
    found = [read_lines(one.path) for one in collected]
    return [
        lines.footer is not None and [m.cell for m in lines.measurements] == list(lines.header.plan.cells)
        for lines in found
    ]


def errors(collected: Sequence[Collected]) -> list[str | None]:
    return [one.error for one in collected]


class TestWhole:
    def test_every_device_makes_a_record_as_a_run_on_it_alone_would(self, site: Site, tmp_path: Path) -> None:
        collected, stopped_by = run(site, tmp_path)
        assert stopped_by is None
        assert errors(collected) == [None] * 3
        assert complete(collected) == [True] * 3
        assert site.closed
        assert [one.place for one in collected] == ["a", "b", "c"]
        assert len(record_paths(tmp_path / "results")) == 3

    @pytest.mark.parametrize(("together", "most"), [(False, 2), (True, 3)])
    def test_gpus_of_one_machine_take_turns_unless_they_are_to_work_at_once(
        self, site: Site, tmp_path: Path, together: bool, most: int
    ) -> None:
        run(site, tmp_path, together=together)
        # Of the jobs before, which look at devices, all run at once.
        measured = [place for place, job in site.started if isinstance(job, member.Measure)]
        assert sorted(measured) == ["a", "b", "c"]
        assert measured[:most] == (["a", "c"] if not together else ["a", "b", "c"])

    def test_processes_of_one_device_follow_each_other(self, site: Site, tmp_path: Path) -> None:
        collected, _ = run(site, tmp_path, processes=3)
        assert complete(collected) == [True] * 9
        assert site.jobs(member.Measure).count("a") == 3

    def test_progress_counts_cells_and_records(self, site: Site, tmp_path: Path) -> None:
        asked = request(tmp_path / "results")
        begun = arrange(site, asked, KEY, indices=dict.fromkeys(site.places()), together=False).begun
        told: list[Progress] = []
        measure_several(site, begun, asked, told.append)
        cells = [one.cells for one in told]
        assert cells == sorted(cells)
        assert told[-1] == Progress(cells=9, of_cells=9, records=3, of_records=3)


class TestLost:
    def test_a_device_that_comes_back_goes_on_in_the_same_record(self, site: Site, tmp_path: Path) -> None:
        site.faults["b"] = gone(site, "b", 2, back_at="d")
        collected, _ = run(site, tmp_path)
        assert errors(collected) == [None] * 3
        assert complete(collected) == [True] * 3
        lines = read_lines(collected[1].path)
        assert lines.resumed == 1
        (again,) = (job for place, job in site.started if place == "d" and isinstance(job, member.Measure))
        assert again.done == lines.header.plan.cells[:2] or {*again.done} == {*lines.header.plan.cells[:2]}
        assert again.resumed

    def test_another_device_in_its_place_is_not_taken_for_it(self, site: Site, tmp_path: Path) -> None:
        die = gone(site, "b", 2, back_at="d")

        def swapped(lines: list[bytes]) -> str:
            said = die(lines)
            site.units["d"] = Unit("another")
            return said

        site.faults["b"] = swapped
        collected, _ = run(site, tmp_path)
        assert errors(collected) == [None, "its worker is gone", None]
        assert [len(read_lines(one.path).measurements) for one in collected] == [3, 2, 3]
        assert site.jobs(member.Measure) == ["a", "c", "b"]

    def test_one_that_does_not_come_back_is_marked_and_keeps_what_it_finished(
        self, site: Site, tmp_path: Path
    ) -> None:
        site.faults["a"] = gone(site, "a", 1)
        collected, stopped_by = run(site, tmp_path)
        assert stopped_by is None
        assert errors(collected) == ["its worker is gone", None, None]
        assert complete(collected) == [False, True, True]
        assert len(read_lines(collected[0].path).measurements) == 1

    def test_a_process_that_dies_is_tried_again_once_where_it_was(self, site: Site, tmp_path: Path) -> None:
        site.faults["a"] = lost(1)
        collected, _ = run(site, tmp_path)
        assert errors(collected) == [member.DIED, None, None]
        assert site.jobs(member.Measure).count("a") == 2
        assert len(read_lines(collected[0].path).measurements) == 1

    def test_a_failure_that_has_a_reason_is_not_tried_again(self, site: Site, tmp_path: Path) -> None:
        site.units["a"].on_prepare = refuse("the GPU does not answer any more")
        collected, _ = run(site, tmp_path)
        assert errors(collected) == ["the GPU does not answer any more", None, None]
        assert site.jobs(member.Measure).count("a") == 1

    def test_a_device_that_came_back_changed_is_not_gone_on_with(self, site: Site, tmp_path: Path) -> None:
        die = gone(site, "b", 2, back_at="d")

        def updated(lines: list[bytes]) -> str:
            said = die(lines)
            site.units["d"].versions["numpy"] = "3.0"
            return said

        site.faults["b"] = updated
        collected, _ = run(site, tmp_path)
        expected = "its surroundings are not what they were: numpy was 2.0 and is 3.0"
        assert errors(collected) == [None, expected, None]

    def test_all_records_of_a_lost_device_wait_for_it(self, site: Site, tmp_path: Path) -> None:
        site.faults["b"] = gone(site, "b", 2, back_at="d")
        collected, _ = run(site, tmp_path, processes=2)
        assert complete(collected) == [True] * 6
        assert site.jobs(member.Measure).count("d") == 2

    def test_one_that_hangs_is_given_up_in_the_end(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its place is there, and says nothing; no clock is waited for."""
        clock = Clock()
        monkeypatch.setattr(collecting, "monotonic", clock)
        hung = {"b": 2}
        site.hang = hung

        def silence() -> None:
            clock.now += 60.0

        site.on_idle = silence
        collected, _ = run(site, tmp_path)
        (said,) = [error for error in errors(collected) if error is not None]
        assert said.startswith("it said nothing for ")
        assert complete(collected) == [True, False, True]
        assert len(read_lines(collected[1].path).measurements) == 2
        assert len(site.stopped) == 1


def _other_cell(lines: list[bytes]) -> None:
    lines[1] = encode_line(measurement(cell(999)))


def _twice(lines: list[bytes]) -> None:
    lines[1] = lines[0]


def _early_footer(lines: list[bytes]) -> None:
    del lines[1]


def _nonsense(lines: list[bytes]) -> None:
    lines[1] = b'{"kind":"measurement","cell":7}\n'


def _impossible(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"seconds_per_call":[0.001', b'"seconds_per_call":[-1.0')


def _second_header(lines: list[bytes]) -> None:
    lines[1] = encode_line(header())


class TestNotBelieved:
    @pytest.mark.parametrize("spoil", [_other_cell, _twice, _early_footer, _nonsense, _impossible, _second_header])
    def test_what_is_no_line_of_the_record_is_not_kept(
        self, site: Site, tmp_path: Path, spoil: Callable[[list[bytes]], None]
    ) -> None:
        site.faults["a"] = spoil
        collected, _ = run(site, tmp_path)
        assert complete(collected) == [False, True, True]
        first = read_lines(collected[0].path)  # which reads it whole: no damage
        assert first.footer is None
        assert first.torn == 0
        assert str(errors(collected)[0]).startswith("it sent what is no line of its record: ")
        assert len(site.stopped) == 1


class TestStopped:
    def test_ctrl_c_keeps_what_had_arrived_and_closes_everything(self, site: Site, tmp_path: Path) -> None:
        asked = request(tmp_path / "results")
        begun = arrange(site, asked, KEY, indices=dict.fromkeys(site.places()), together=False).begun

        def press(done: Progress) -> None:
            if done.cells == 2:
                raise KeyboardInterrupt

        collected, stopped_by = measure_several(site, begun, asked, press)
        assert isinstance(stopped_by, KeyboardInterrupt)
        assert site.closed
        # All that the two running ones had sent by then; the third was never begun.
        assert complete(collected) == [True, False, True]
        assert errors(collected) == [None, "it was stopped", None]

    def test_a_full_disk_stops_all_and_is_the_reason(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        appended = RecordWriter.append
        count = iter(range(100))

        def full(writer: RecordWriter, line: object) -> None:
            if next(count) == 5:  # three headers, two lines
                message = "the disk is full"
                raise CannotWrite(message)
            appended(writer, line)  # type: ignore[arg-type]

        monkeypatch.setattr(RecordWriter, "append", full)
        collected, stopped_by = run(site, tmp_path)
        assert isinstance(stopped_by, CannotWrite)
        assert [one.path.exists() for one in collected] == [True] * 3

    def test_a_scheduler_that_is_gone_stops_all(self, site: Site, tmp_path: Path) -> None:
        site.faults["a"] = gone(site, "a", 1)
        places, calls = site.places, iter(range(100))

        def dead() -> list[str]:
            if next(calls) > 4:
                message = "the scheduler does not answer any more"
                raise BackendUnavailable(message)
            return places()

        site.places = dead  # type: ignore[method-assign]
        collected, stopped_by = run(site, tmp_path)
        assert isinstance(stopped_by, BackendUnavailable)
        assert [one.path.exists() for one in collected] == [True] * 3


class TestResume:
    def interrupted(self, site: Site, results: Path) -> list[Collected]:
        site.faults["a"] = gone(site, "a", 1)
        site.faults["c"] = lost(2)
        collected, _ = run(site, results)
        assert complete(collected) == [False, True, False]
        site.faults.clear()
        return collected

    def test_all_records_of_its_run_are_gone_on_with_wherever_their_devices_are(
        self, site: Site, tmp_path: Path
    ) -> None:
        before = self.interrupted(site, tmp_path)
        site.units |= {"new": Unit("a"), "other": Unit("stranger")}
        site.hosts |= {"new": "x", "other": "z"}
        site.started.clear()
        collected, left_out, stopped_by = resume(site, before[1].path, tmp_path)
        assert (list(left_out), stopped_by) == ([], None)
        assert complete(before) == [True] * 3
        assert sorted(site.jobs(member.Measure)) == ["c", "new"]
        assert errors(collected) == [None, None]

    def test_a_device_that_is_nowhere_is_said_and_the_others_are_done(self, site: Site, tmp_path: Path) -> None:
        before = self.interrupted(site, tmp_path)
        collected, _, _ = resume(site, before[0].path, tmp_path)
        assert complete(before) == [False, True, True]
        assert errors(collected) == [None, "its device is at no place that is there now"]
        assert summary_error(collected, []) is not None

    def test_with_none_of_its_devices_there_is_nothing_to_resume_on(self, site: Site, tmp_path: Path) -> None:
        before = self.interrupted(site, tmp_path)
        site.units = {"z": Unit("stranger")}
        site.hosts["z"] = "z"
        with pytest.raises(BackendUnavailable, match="no place has a device of this run"):
            resume(site, before[0].path, tmp_path)

    def test_a_record_of_one_device_is_no_run_over_several(self, tmp_path: Path) -> None:
        path = write_record(tmp_path, header())
        with pytest.raises(InvalidRequest, match="is of a run on one device"):
            fleet_of_record(path)

    def test_this_machine_has_a_place_for_each_process_of_its_cpu(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        site = Site(monkeypatch, {"a": Unit("1", CPU), "b": Unit("1", CPU)}, {"a": "x", "b": "x"})
        site.faults = {"a": lost(1), "b": lost(2)}
        before, _ = run(site, tmp_path)
        assert complete(before) == [False, False]
        site.faults.clear()
        places = places_for([one.header for one in before])
        assert len(places) == 2
        site.units, site.hosts = dict(zip(places, site.units.values(), strict=True)), dict.fromkeys(places, "x")
        resume(site, before[0].path, tmp_path)
        assert complete(before) == [True, True]


def test_records_of_which_one_cannot_be_made_leave_nothing_open(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = RecordWriter.create
    count = iter(range(9))

    def limited(results: Path, head: object) -> RecordWriter:
        if next(count) == 2:
            message = "too many open files"
            raise CannotWrite(message)
        return made(results, head)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordWriter, "create", limited)
    with pytest.raises(CannotWrite, match="too many open files"):
        run(site, tmp_path)


def test_a_place_with_a_hostile_folder_name_writes_nowhere_else(site: Site, tmp_path: Path) -> None:
    site.units["a"]._device = msgspec.structs.replace(site.units["a"]._device, folder="../../evil")
    collected, _ = run(site, tmp_path)
    assert [one.place for one in collected] == ["b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_what_is_missing_is_the_error_of_the_whole() -> None:
    one = Collected("a", header(), Path("r.jsonl"), None)
    assert summary_error([one], []) is None
    broken = summary_error([one, one._replace(error="its worker is gone")], [])
    assert str(broken) == "1 of 2 records are not complete; what they hold is saved"
    left = summary_error([one], [LeftOut("b", "why")])
    assert left is not None
    assert left.exit_code == 5


def test_the_end_of_a_job_that_nobody_waits_for_is_nobodys(site: Site, tmp_path: Path) -> None:
    stray: list[Message] = [Ended(10**9, "of another run")]
    nexts = site.next
    site.next = lambda seconds: stray.pop() if stray else nexts(seconds)  # type: ignore[method-assign]
    collected, _ = run(site, tmp_path)
    assert complete(collected) == [True] * 3
