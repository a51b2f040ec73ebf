"""All steps that put a device on record: their order, what is not begun, what goes on later, and the page."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from click.testing import CliRunner

from bench.devices import cuda
from bench.errors import BackendUnavailable
from bench.records.record import Process
from bench.units import DTYPES
from tests.benchmarks import peers
from tests.command import chipbench
from tests.gpu import on_record
from tests.gpu.account import Ended, Step, agreement, formats_in, page
from tests.gpu.on_record import Round, main, run_within, steps_into
from tests.support import CELLS, FAILED, header, measurement, write_record

PASSES = ("-c", "print('a table')")
FAILS = ("-c", "import sys; print('first', file=sys.stderr); sys.exit('the\\nreason')")
NO_DEVICE = ("-c", "import sys; sys.exit(5)")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def silent(_text: str) -> None:
    pass


def carried_out(
    out: Path, steps: Sequence[Step], *, minutes: float | None = None, clock: Callable[[], float] = monotonic
) -> Mapping[str, Ended]:
    this = Round(out, minutes, clock)
    this.carry_out(steps, silent)
    return this.ended


def stopped(folder: Path, script: str) -> bool:
    """Return whether a shell's script had to be stopped after half a second."""
    with (folder / "log").open("wb") as log:
        return run_within(["sh", "-c", script], 0.5, log, log, os.environ) is None


def states(ended: Mapping[str, Ended]) -> dict[str, str]:
    return {name: one.state for name, one in ended.items()}


class TestRound:
    def test_a_step_that_fails_ends_nothing_else(self, tmp_path: Path) -> None:
        ended = carried_out(tmp_path, [Step("bad", FAILS, 1), Step("good", PASSES, 1)])
        assert states(ended) == {"bad": "failed", "good": "done"}
        assert ended["bad"].exit_code == 1
        assert ended["bad"].detail == "exit code 1 (reason)"
        assert (tmp_path / "logs" / "good.txt").read_text() == "a table\n"
        assert (tmp_path / "logs" / "bad.err.txt").read_text() == "first\nthe\nreason\n"

    def test_what_left_its_file_is_done_whatever_it_ends_with(self, tmp_path: Path) -> None:
        """Peers that are faster, or tests that fail, are what was to be found out."""
        file = tmp_path / "peers.json"
        writes = f"import sys, pathlib; pathlib.Path({str(file)!r}).touch(); sys.exit('below the goal')"
        steps = [Step("peers", ("-c", writes), 1, leaves=file), Step("crash", FAILS, 1, leaves=tmp_path / "other")]
        ended = carried_out(tmp_path, steps)
        assert states(ended) == {"peers": "done", "crash": "failed"}
        assert ended["peers"].detail == "exit code 1 (below the goal)"

    def test_nothing_follows_once_no_device_answers(self, tmp_path: Path) -> None:
        ended = carried_out(tmp_path, [Step("gone", NO_DEVICE, 1), Step("next", PASSES, 1)])
        assert states(ended) == {"gone": "failed"}

    def test_what_is_through_ends_nothing_whatever_its_code_says_elsewhere(self, tmp_path: Path) -> None:
        """pytest's 5 is that no test was there."""
        file = tmp_path / "tests.xml"
        file.touch()
        ended = carried_out(tmp_path, [Step("tests", NO_DEVICE, 1, leaves=file), Step("next", PASSES, 1)])
        assert states(ended) == {"tests": "done", "next": "done"}

    def test_one_broken_gpu_of_several_keeps_nothing_from_being_done(self, tmp_path: Path) -> None:
        *_, last = steps_into(tmp_path)
        assert "--gpu" in last.arguments

    def test_what_is_done_is_not_done_again_but_for_what_only_tells(self, tmp_path: Path) -> None:
        counts = "import os; open(os.environ['COUNT'] + '/{}', 'a').write('x')"
        steps = [Step(name, ("-c", counts.format(name)), 1, again=name == "told") for name in ("run", "told")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COUNT", str(tmp_path))
            for _ in range(2):
                carried_out(tmp_path / "out", steps)
        assert (tmp_path / "run").read_text() == "x"
        assert (tmp_path / "told").read_text() == "xx"

    def test_what_failed_is_tried_again(self, tmp_path: Path) -> None:
        carried_out(tmp_path, [Step("step", FAILS, 1)])
        assert states(carried_out(tmp_path, [Step("step", PASSES, 1)])) == {"step": "done"}

    def test_what_does_not_fit_the_time_left_is_not_begun_and_something_shorter_is(self, tmp_path: Path) -> None:
        steps = [Step("long", PASSES, 61), Step("short", PASSES, 59)]
        ended = carried_out(tmp_path, steps, minutes=1, clock=Clock())
        assert states(ended) == {"long": "not begun", "short": "done"}
        assert ended["long"].detail == "61 s are expected, 60 s are left"
        assert states(carried_out(tmp_path, steps, clock=Clock())) == {"long": "done", "short": "done"}

    def test_the_time_is_that_of_all_steps_together(self, tmp_path: Path) -> None:
        clock = Clock()

        def told(text: str) -> None:
            clock.now += 30 if "expected" in text else 0

        this = Round(tmp_path, 1, clock)
        this.carry_out([Step(name, PASSES, 20) for name in ("one", "two", "three")], told)
        assert states(this.ended) == {"one": "done", "two": "not begun", "three": "not begun"}

    def test_what_takes_longer_than_there_is_time_is_asked_to_end_and_may_save(self, tmp_path: Path) -> None:
        saves = f"trap 'touch {tmp_path / 'saved'}; exit' TERM; while :; do sleep 0.02; done"
        assert stopped(tmp_path, saves)
        assert (tmp_path / "saved").exists()

    def test_what_does_not_end_when_asked_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(on_record, "_TO_SAVE_S", 0.1)
        assert stopped(tmp_path, "trap '' TERM; while :; do sleep 0.02; done")

    def test_a_step_of_a_format_that_did_not_pass_here_is_left_out(self, tmp_path: Path) -> None:
        """CELLS are of fp32 and fp64, of which the latter fails here."""
        fp32, fp64, _ = CELLS
        write_record(
            tmp_path / "results", header(), [measurement(fp32), measurement(fp64, check=FAILED)], complete=False
        )
        steps = [Step(name, PASSES, 1, name) for name in ("fp32", "fp64", "bf16")]
        ended = carried_out(tmp_path, steps)
        assert states(ended) == {"fp32": "done", "fp64": "not here", "bf16": "not here"}
        assert formats_in(tmp_path / "results") == {"fp32"}

    def test_before_anything_was_measured_every_format_is_tried(self, tmp_path: Path) -> None:
        assert states(carried_out(tmp_path, [Step("bf16", PASSES, 1, "bf16")])) == {"bf16": "done"}

    def test_steps_write_into_its_folder_and_find_this_checkout(self, tmp_path: Path) -> None:
        told = "import os, bench; print(os.environ['CHIPBENCH_RESULTS'], bench.__file__)"
        carried_out(tmp_path, [Step("where", ("-c", told), 1)])
        results, package = (tmp_path / "logs" / "where.txt").read_text().split()
        assert results == str(tmp_path / "results")
        assert Path(package).parents[1] == Path(__file__).parents[1]


class TestSteps:
    def test_every_run_is_one_that_the_command_takes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Without a device it ends with 5; an option that is not taken would end it with 2."""

        def none_here(*_arguments: object) -> None:
            raise BackendUnavailable("no device here")

        monkeypatch.setattr(cuda, "open_backend", none_here)
        runs = [step for step in steps_into(tmp_path) if step.arguments[:3] == ("-m", "bench", "run")]
        assert len(runs) >= 8
        for step in runs:
            assert chipbench(*step.arguments[2:]).code == BackendUnavailable.exit_code, step.name

    def test_each_format_is_held_against_peers_once(self, tmp_path: Path) -> None:
        held = [step for step in steps_into(tmp_path) if step.arguments[0] == on_record.PEERS]
        assert sorted(step.dtype or "" for step in held) == sorted(DTYPES)
        for step in held:
            context = peers.main.make_context("peers", [*step.arguments[1:]])
            assert context.params["dtypes"] == (step.dtype,)
            assert context.params["sizes"] == (4096, 8192)

    def test_names_are_told_apart_and_the_folder_is_not_shown(self, tmp_path: Path) -> None:
        steps = steps_into(tmp_path)
        assert len({step.name for step in steps}) == len(steps)
        assert not [step.name for step in steps if str(tmp_path) in step.command(tmp_path)]


class TestPage:
    def test_it_says_how_each_step_ended_and_what_it_printed(
        self, tmp_path: Path, golden: Callable[[str, str], None]
    ) -> None:
        steps = [
            Step("devices", PASSES, 4),
            Step("run", FAILS, 65),
            Step("peers-bf16", (on_record.PEERS, "--json", str(tmp_path / "peers.json")), 90),
            Step("thorough", ("-m", "bench", "run", "--thorough"), 900),
        ]
        this = Round(tmp_path, 2, Clock())
        this.carry_out(steps[:2], silent)
        this.ended["thorough"] = Ended(
            name="thorough", command="", state="not begun", detail="900 s are expected, 31 s are left"
        )
        golden("on-record.md", page(tmp_path, steps, this.ended))

    def test_processes_are_as_far_apart_as_half_their_range(self, tmp_path: Path) -> None:
        for index, factor in enumerate((1.0, 1.02, 0.99)):
            head = header(CELLS[:1], ident=f"0000000{index}")
            process = Process(index=index, of=3, group="11111111")
            one = measurement(CELLS[0], [factor * 1e-3] * 6)
            write_record(tmp_path, msgspec.structs.replace(head, process=process), [one])
        write_record(tmp_path, header(CELLS[:1], ident="00000009"), [measurement(CELLS[0], [5e-3] * 6)])
        *_, row = agreement(tmp_path).splitlines()
        assert [part.strip() for part in row.strip("|").split("|")] == [
            "fp32 64³", "numpy.matmul", "3 of 3", "1.49 %", "–", "–",
        ]  # fmt: skip

    def test_without_runs_of_several_processes_there_is_none(self, tmp_path: Path) -> None:
        assert agreement(tmp_path / "nothing") == ""


class TestCommand:
    def test_it_keeps_what_it_did_and_fails_while_a_step_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = [Step("one", PASSES, 1), Step("two", PASSES, 1)]
        monkeypatch.setattr(on_record, "steps_into", lambda _out: steps)
        out = tmp_path / "out"
        first = CliRunner().invoke(main, [str(out), "--only", "one"])
        assert first.exit_code == 0
        assert first.stdout == f"{out / 'README.md'}\n"
        assert [one["name"] for one in json.loads((out / "steps.json").read_text())] == ["one"]
        steps[1] = Step("two", FAILS, 1)
        assert CliRunner().invoke(main, [str(out)]).exit_code == 1
        assert "exit code 1 (reason)" in (out / "README.md").read_text()

    def test_a_step_that_there_is_not_is_named(self, tmp_path: Path) -> None:
        told = CliRunner().invoke(main, [str(tmp_path), "--only", "burn"])
        assert told.exit_code == 2
        assert "--only burn: no such step; there are devices, run," in told.stderr

    @pytest.mark.parametrize("content", ["[", '[{"name": "run"}]', "{}"])
    def test_an_account_that_cannot_be_read_is_left_alone(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "steps.json").write_text(content)
        told = CliRunner().invoke(main, [str(tmp_path)])
        assert told.exit_code == 1
        assert "steps.json: " in told.stderr
        assert "Traceback" not in told.stderr
        assert (tmp_path / "steps.json").read_text() == content

    def test_a_folder_that_cannot_be_made_is_said_in_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        told = CliRunner().invoke(main, [str(tmp_path / "file" / "out")])
        assert told.exit_code == 1
        assert told.stderr.startswith("Error: cannot write: ")

    def test_it_starts_as_a_script(self) -> None:
        root = Path(__file__).parents[1]
        command = [sys.executable, str(Path(on_record.__file__)), "out", "--list"]
        around = {**os.environ, "PYTHONPATH": str(root)}
        told = subprocess.run(command, cwd=root, env=around, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        assert told.stdout.splitlines()[0].split() == ["devices", "4", "s", "chipbench", "devices"]
