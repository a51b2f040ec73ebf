"""One device's part: jobs and answers as lines, and a process that outlives nobody who asked it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.devices.cpu import CpuBackend
from bench.errors import BackendUnavailable
from bench.measure.policy import Policy
from bench.published.models import read_models
from bench.published.source import shipped_specs
from bench.records.record import Assembly, decode_line
from bench.run import member
from bench.run.member import Failed, Look, Measure, MemberProcess, Resolve, Resolved, Seen, answer_of, encoded
from bench.run.planning import Wish
from bench.run.session import told_apart
from bench.version import VERSION
from bench.workloads.base import Plan, Shape
from tests.support import CELLS, TINY, cell, header

ROOT = Path(__file__).resolve().parent.parent
KEY = "0123456789abcdef"


def done(job: member.Job) -> list[bytes]:
    lines: list[bytes] = []
    member.work(encoded(job), lines.append)
    return lines


def answered(job: member.Job) -> member.Answer | None:
    (line,) = done(job)
    return answer_of(line)


def measure(cells: int = 3, **changed: Any) -> Measure:  # noqa: ANN401 - fields of a header
    """Return a job for the CPU that is here, whose surroundings are as they are."""
    backend = CpuBackend()
    head = msgspec.structs.replace(
        header(policy=TINY),
        tool=VERSION,
        device=told_apart(backend.device(), backend.identity(), KEY.encode()),
        environment=backend.environment(),
        plan=Plan(workload="gemm", cells=CELLS[:cells]),
    )
    return Measure(header=msgspec.structs.replace(head, **changed), key=KEY)


class TestWork:
    def test_a_look_tells_the_device_by_the_keys_hash_and_names_nothing(self) -> None:
        seen = answered(Look(backend="cpu", key=KEY))
        assert isinstance(seen, Seen)
        assert (seen.tool, seen.backend, seen.origin) == (VERSION, "cpu", "measured")
        other = answered(Look(backend="cpu", key=KEY[::-1]))
        assert isinstance(other, Seen)
        assert seen.device.key != other.device.key
        assert seen.device.host_key not in {None, seen.device.key, other.device.host_key}
        assert os.uname().nodename.encode() not in encoded(seen)
        assert seen.device.host is None

    def test_only_on_request_the_host_is_named(self) -> None:
        seen = answered(Look(backend="cpu", key=KEY, identify=True))
        assert isinstance(seen, Seen)
        assert seen.device.host == os.uname().nodename

    def test_a_plan_is_resolved_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = answered(Resolve(backend="cpu", wish=Wish(dtypes=("fp32",), shapes=[Shape(m=8, n=8, k=8)])))
        assert isinstance(found, Resolved)
        assert [one.label for one in found.plan.cells] == ["fp32 8³"]

    def test_a_model_reaches_there_without_the_path_of_its_file(self) -> None:
        model = read_models([shipped_specs()]).find("deepseek-r1")
        line = encoded(Resolve(backend="cpu", wish=Wish(workload="llm", model=model)))
        assert str(model.path.parent).encode() not in line
        job = member.decoded_job(line)
        assert isinstance(job, Resolve)
        assert job.wish.model == model._replace(path=Path(model.path.name))

    def test_the_lines_of_a_measurement_are_a_record_after_its_header(self, tmp_path: Path) -> None:
        job = measure()
        held = Assembly(tmp_path, job.header)
        for number, line in enumerate(done(job), start=2):
            held.take(number, decode_line(tmp_path, number, line))
        assert held.footer is not None
        assert held.done == {*CELLS}

    def test_what_is_done_is_not_done_again(self) -> None:
        lines = done(msgspec.structs.replace(measure(), done=CELLS[:2], resumed=True))
        assert [json.loads(line)["kind"] for line in lines] == ["resumed", "measurement", "footer"]

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"tool": "0.1.0"}, "chipbench was 0.1.0"),
            ({"device": msgspec.structs.replace(CpuBackend().device(), key="0" * 16)}, "device was 0000"),
        ],
    )
    def test_elsewhere_than_planned_nothing_is_measured(self, changed: dict[str, Any], said: str) -> None:
        (line,) = done(measure(**changed))
        failed = answer_of(line)
        assert isinstance(failed, Failed)
        assert said in failed.text

    def test_an_error_is_an_answer_with_its_exit_code(self) -> None:
        failed = answered(Resolve(backend="cpu", wish=Wish(dtypes=("fp8",))))
        assert isinstance(failed, Failed)
        assert failed.text.startswith("fp8 is not measured on backend cpu")
        assert failed.code == 2

    @pytest.mark.parametrize("line", [b"", b"{}\n", b'{"kind":"look"}\n', b"\xff\n", b'{"kind":"seen"}\n'])
    def test_what_is_no_job_is_said(self, line: bytes) -> None:
        lines: list[bytes] = []
        member.work(line, lines.append)
        failed = answer_of(lines[0])
        assert isinstance(failed, Failed)
        assert failed.text.startswith("what was to be done could not be read: ")

    @pytest.mark.parametrize("line", [b"", b"{}\n", b"\xff", encoded(Look(backend="cpu", key="k"))])
    def test_what_is_no_answer_is_none(self, line: bytes) -> None:
        assert answer_of(line) is None


@pytest.mark.slow
class TestProcess:
    def test_it_answers_and_ends(self) -> None:
        lines = [*MemberProcess(encoded(measure(1))).lines()]
        assert [json.loads(line)["kind"] for line in lines] == ["measurement", "footer"]

    def test_one_that_is_killed_has_died_without_a_word(self) -> None:
        process = MemberProcess(encoded(measure(1, policy=Policy(cap_s=60.0, least_s=60.0))))
        process._process.kill()
        with pytest.raises(BackendUnavailable, match="without a word"):
            [*process.lines()]

    def test_it_can_be_stopped_in_the_middle(self) -> None:
        process = MemberProcess(encoded(measure(1, policy=Policy(cap_s=60.0, least_s=60.0))))
        started = time.monotonic()
        process.stop()
        assert process._process.poll() is not None
        assert time.monotonic() - started < 10
        with pytest.raises(BackendUnavailable, match="without a word"):
            [*process.lines()]

    def test_when_who_asked_is_killed_it_ends_too(self, tmp_path: Path) -> None:
        job = tmp_path / "job"
        job.write_bytes(encoded(measure(1, policy=Policy(cap_s=60.0, least_s=60.0))))
        code = (
            "import sys; from bench.run.member import MemberProcess\n"
            "process = MemberProcess(open(sys.argv[1], 'rb').read())\n"
            "print(process._process.pid, flush=True)\n"
            "list(process.lines())\n"
        )
        command = [sys.executable, "-c", code, str(job)]
        asking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert asking.stdout is not None
        with asking.stdout:
            pid = int(asking.stdout.readline())
        time.sleep(0.5)
        asking.kill()
        asking.wait()
        deadline = time.monotonic() + 20
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_cell_of_another_load_is_another_cell() -> None:
    together = msgspec.structs.replace(cell(), load="together")
    assert together.key != cell().key
