"""A wall clock that is set back, a machine that sleeps, a process that is suspended: what is said of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import msgspec
import pytest

from bench.devices.base import Caveat
from bench.measure.clocks import Clocks, clocks, moved
from bench.measure.policy import Policy
from bench.records import store
from bench.records.record import Footer, read_lines, read_record
from bench.records.store import RecordWriter, latest
from bench.records.wall_clock import missing_s, set_back_s
from bench.run import collecting, session
from bench.run.member import Measure
from bench.run.session import make_header, resume, run_plan
from tests.command import chipbench
from tests.places_lab import KEY, Site, Unit
from tests.support import (
    CELLS,
    MeasuringBackend,
    SimulatedBackend,
    header,
    measurement,
    raising,
    saved,
    script,
    silent,
    write_record,
)
from tests.test_collecting import Clock, complete, errors, run

ROOT: Final = Path(__file__).resolve().parent.parent
START: Final = Clocks(1000.0, 2000.0, 1.7e9)
POLICY: Final = Policy(cap_s=1.0)


def after(running: float, *, slept: float = 0.0, was_set: float = 0.0) -> Clocks:
    """Return the clocks after so many seconds, a sleep among them, and the wall clock set."""
    passed = running + slept
    return Clocks(START.running + running, START.passing + passed, START.wall + passed + was_set)


class TestClocks:
    @pytest.mark.parametrize(
        ("now", "said"),
        [
            (after(3600.0), {}),
            (after(10.0, was_set=-3600.0), {"clock_set": -3600.0}),
            (after(10.0, was_set=3600.0), {"clock_set": 3600.0}),
            (after(10.0, slept=28800.0), {"slept": 28800.0}),
            (after(10.0, slept=28800.0, was_set=-60.0), {"slept": 28800.0, "clock_set": -60.0}),
            (after(10.0, slept=0.9, was_set=0.9), {}),
        ],
    )
    def test_sleep_is_told_from_a_clock_that_was_set(self, now: Clocks, said: dict[str, float]) -> None:
        found = {caveat.code: float(caveat.values["seconds"]) for caveat in moved(START, now)}
        assert found == pytest.approx(said)

    def test_this_machines_own_agree_while_nothing_happens(self) -> None:
        assert [*moved(clocks(), clocks())] == []


@pytest.fixture
def stepping(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the machine's clocks say these things, one after the other."""

    def use(*moments: Clocks) -> None:
        told = iter(moments)
        monkeypatch.setattr(session, "clocks", lambda: next(told))

    return use


def measured(backend: SimulatedBackend, results: Path, cells: Sequence = CELLS[:1]) -> Path:  # type: ignore[type-arg]
    plan = msgspec.structs.replace(header().plan, cells=tuple(cells))
    head = make_header(backend, plan, POLICY, tool="0.1.0", results=results, identify=False)
    return saved(run_plan(backend, head, results=results, on_event=silent))


def scripts() -> dict:  # type: ignore[type-arg]
    return {one: script([1e-3 * (1 + 0.001 * (index % 3)) for index in range(40)]) for one in CELLS}


class TestCells:
    def test_the_cell_in_which_it_happened_holds_it(self, tmp_path: Path, stepping: Callable[..., None]) -> None:
        stepping(START, after(3.0), after(4.0), after(7.0, slept=3600.0, was_set=-120.0))
        lines = read_lines(measured(MeasuringBackend(scripts()), tmp_path, CELLS[:2]))
        quiet, moving = lines.measurements
        assert quiet.warnings == ()
        assert [(one.code, one.values) for one in moving.warnings] == [
            ("slept", {"seconds": 3600.0}),
            ("clock_set", {"seconds": pytest.approx(-120.0)}),
        ]

    def test_what_happens_beside_a_replay_is_none_of_its_samples(
        self, tmp_path: Path, stepping: Callable[..., None]
    ) -> None:
        stepping(START, after(3.0, slept=3600.0))
        lines = read_lines(measured(SimulatedBackend(scripts()), tmp_path))
        assert lines.measurements[0].warnings == ()


class TestRecords:
    def test_one_that_ends_before_it_began_is_whole_and_said_to_be_odd(self, tmp_path: Path) -> None:
        """By its footer, whatever version wrote it: an hour back in a run of a minute."""
        head = header(started="2026-01-02T03:04:05Z")
        with RecordWriter.create(tmp_path, head) as writer:
            for one in CELLS:
                writer.append(measurement(one))
            writer.append(Footer(ended="2026-01-02T02:05:05Z", measurements=3, seconds=60.0))
        record = read_record(writer.path)
        assert set_back_s(record) == 3600.0
        assert set_back_s(record._replace(complete=False)) == 0
        assert set_back_s(record._replace(path=tmp_path / "gone")) == 0
        answer = chipbench("results", "check", "--results-dir", tmp_path)
        assert answer.code == 0
        assert "complete, clock set back 1 h 0 min" in answer.text
        assert "its rates are right" in answer.text
        assert "'latest' may be another" in answer.text

    @pytest.mark.parametrize(
        ("ended", "seconds", "back"),
        [
            ("2026-01-02T03:05:05Z", 60.0, 0.0),
            ("2026-01-02T03:05:05Z", 61.9, 0.0),
            ("2026-01-02T09:04:05Z", 60.0, 0.0),
            ("2026-01-02T03:04:05Z", 60.0, 60.0),
            ("2026-01-01T03:04:05Z", 60.0, 86460.0),
            ("yesterday", 60.0, 0.0),
            ("2026-01-02T03:04:05", 60.0, 0.0),
        ],
    )
    def test_more_may_pass_than_a_process_ran_but_not_less(self, ended: str, seconds: float, back: float) -> None:
        assert missing_s("2026-01-02T03:04:05Z", ended, seconds) == back

    def test_one_that_was_resumed_before_it_began_is_gone_on_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = MeasuringBackend(scripts())
        backend.on_prepare = raising(CELLS[1], KeyboardInterrupt())
        path = measured(backend, tmp_path, CELLS)
        monkeypatch.setattr(session, "open_backend", lambda *_: MeasuringBackend(scripts()))
        monkeypatch.setattr(session, "now", lambda: "2001-01-01T00:00:00Z")
        outcome = resume(path, tool="0.1.0", on_event=silent)
        assert len(outcome.readings) == 3
        record = read_record(path)
        assert (record.complete, record.resumed) == (True, 1)
        assert set_back_s(record) > 0

    def test_durations_are_not_by_the_wall_clock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        times = iter(["2026-01-02T03:04:05Z", "2001-01-01T00:00:00Z"])
        monkeypatch.setattr(session, "now", lambda: next(times))
        footer = read_lines(measured(MeasuringBackend(scripts()), tmp_path)).footer
        assert footer is not None
        assert 0 <= footer.seconds < 60


class TestLatest:
    @pytest.mark.parametrize(
        ("started", "warned"), [("2026-01-02T03:05:00Z", False), ("2026-01-02T04:04:05Z", True)]
    )
    def test_a_run_says_if_latest_will_be_another_record(
        self, started: str, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after the clock was set back: what is there already seems to be of later. Seconds are nothing."""
        other = write_record(tmp_path, header(started=started))
        monkeypatch.setattr(session, "now", lambda: "2026-01-02T03:04:05Z")
        path = measured(MeasuringBackend(scripts()), tmp_path)
        assert latest(tmp_path).path == other
        said = read_lines(path).header.warnings
        values: dict[str, float | str] = {"seconds": 3600.0, "started": "2026-01-02 04:04:05"}
        assert said == ((Caveat(code="future", values=values),) if warned else ())

    def test_what_latest_passes_over_is_no_reason(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_record(tmp_path, header(started="2026-01-02T05:04:05Z", origin="replayed"))
        (tmp_path / "cpu-simulated" / "zz.jsonl").write_text("no record")
        monkeypatch.setattr(session, "now", lambda: "2026-01-02T03:04:05Z")
        path = measured(MeasuringBackend(scripts()), tmp_path)
        assert read_lines(path).header.warnings == ()
        assert store.latest(tmp_path).path == path

    def test_it_stands_under_the_table(self, tmp_path: Path) -> None:
        values: dict[str, float | str] = {"seconds": 3600.0, "started": "2026-01-02 04:04:05"}
        head = msgspec.structs.replace(header(), warnings=(Caveat(code="future", values=values),))
        path = write_record(tmp_path, head)
        document = json.loads(chipbench("results", "export", "--to", "json", "--from", path).out)
        assert "future" in document["measurements"][0]["warnings"]


class TestCollectors:
    def test_one_that_was_suspended_gives_nobody_up_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-Z over night, then fg: all devices said nothing meanwhile, as they stood still too."""
        clock = Clock()
        monkeypatch.setattr(collecting, "monotonic", clock)
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / ".key").write_bytes(KEY)
        site = Site(monkeypatch, {place: Unit(place) for place in "ab"}, {"a": "x", "b": "y"})

        def night() -> None:
            if len(site.jobs(Measure)) == 2 and clock.now < 3600.0:
                clock.now += 8 * 3600.0

        site.on_message = night
        collected, _ = run(site, tmp_path, processes=1)
        assert clock.now > 8 * 3600.0
        assert errors(collected) == [None, None]
        assert complete(collected) == [True, True]


# A run as typed, but for how long it samples: after a third of a second, for two and a half.
BRIEF: Final = """
import sys
from bench.cli.main import main
from bench.measure.policy import Policy
from bench.run import planning
brief = Policy(block_s=0.05, cap_s=2.5, least_s=2.5, warm_up_least_s=0.1, cold_warm_up_most_s=0.3)
planning.fitted = lambda *_arguments, **_more: brief
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_run_that_is_really_suspended_says_so_and_is_right_all_the_same(tmp_path: Path) -> None:
    """Stopped for 1.5 s while it samples, and continued."""
    asked = ["run", "--backend", "cpu", "--dtype", "fp32", "--size", "256", "--results-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BRIEF, *asked]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        _until(lambda: any(path.stat().st_size for path in tmp_path.rglob("*.jsonl")))
        sleep(0.8)
        os.kill(process.pid, signal.SIGSTOP)
        sleep(1.5)
        os.kill(process.pid, signal.SIGCONT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "in one block nothing ran for 1." in " ".join(out.split())
    (path,) = tmp_path.rglob("*.jsonl")
    (reading,) = read_record(path).readings
    assert "stalled" in {caveat.code for caveat in reading.warnings}
    seconds = read_lines(path).measurements[0].samples.seconds_per_call
    others = sorted(seconds)[:-1]
    assert reading.summary is not None
    assert others[0] <= reading.summary.median <= others[-1]


def _until(true: Callable[[], bool]) -> None:
    end = monotonic() + 30
    while not true():
        assert monotonic() < end
        sleep(0.01)
