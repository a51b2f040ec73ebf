"""Put the GPU of this machine on record: all that is to be run on a device, step by step, in one command.

    python tests/gpu/on_record.py OUT [--minutes 9]

Needs what `pytest -m gpu` needs, and PyTorch for the comparison beside peers. Where chipbench is not installed, it
runs from the root of the checkout with PYTHONPATH=. before it. OUT comes to hold the records (`results/`), what
every step printed (`logs/`), the blocks of all peers (`peers-*.json`), how each step ended (`steps.json`), and all
of it as one page (`README.md`); what libraries print may name folders of this machine. A step that fails ends
nothing else, unless no GPU answers any more. With --minutes, a step that is not expected to end in time is not
begun, and what runs longer is stopped; the same command goes on later with what is missing. No setting of the card
is changed, and this process itself does not use it. Exits with 1 if a step failed or is still missing.

The times expected are those of an H200 and an H100 (2026-11-28) where they are known, else estimates: nobody has
run this command whole on a GPU yet.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Final

import click
import msgspec

from bench.errors import BackendUnavailable, one_line, shortened
from bench.records.store import now
from bench.units import DTYPES
from tests.gpu.account import Ended, Step, formats_in, page

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = "tests/benchmarks/peers.py"
_PATIENCE: Final = 4.0  # times what is expected, if nobody set a limit
_TO_SAVE_S: Final = 20.0
_STATE: Final = "steps.json"


def steps_into(out: Path) -> list[Step]:
    """Return all steps, what matters most first; `out` is where they write."""

    def run(name: str, seconds: float, *arguments: str) -> Step:
        return Step(name, ("-m", "bench", "run", "--backend", "cuda", *arguments), seconds)

    def peers(dtype: str) -> Step:
        sizes = ("--size", "4096", "--size", "8192")
        file = out / f"peers-{dtype}.json"
        return Step(f"peers-{dtype}", (PEERS, "--dtype", dtype, *sizes, "--json", str(file)), 90, dtype, file)

    tests = ("-m", "pytest", "-n", "0", "-m", "gpu", "-rs", "-q")
    both = ("--dtype", "bf16", "--dtype", "fp8", "--size", "8192")
    others = [name for name in DTYPES if name not in ("bf16", "fp8")]
    results = str(out / "results")
    facts = out / "logs" / "tests.xml"
    report = ("-m", "bench", "report", "--chip", "h20", "-o", str(out / "report.html"), "--force")
    return [
        Step("devices", ("-m", "bench", "devices"), 4, again=True),
        run("run", 65),
        run("processes", 120, *both, "--processes", "5"),
        peers("bf16"),
        peers("fp8"),
        run("sustained", 160, *both, "--library", "cublaslt", "--sustained", "30"),
        run("stream", 10, "--workload", "stream", "--library", "both"),
        Step("tests", (*tests, "--junit-xml", str(facts)), 200, leaves=facts),
        run("skinny", 40, "--workload", "skinny", "--quick"),
        run("llm", 155, "--workload", "llm", "--model", "deepseek-r1", "--quick"),
        *map(peers, others),
        run("data", 90, "--data", "all", "--quick"),
        Step("project", ("-m", "bench", "project", "--from", results, "--to", "h20"), 3, again=True),
        Step("report", report, 6, again=True),
        run("thorough", 900, "--thorough"),
        # The last, as it ends like a machine without a GPU where one of several is broken.
        run("gpus", 20, "--gpu", "all", "--dtype", "bf16", "--size", "4096", "--quick"),
    ]


class Round:
    """One go at the steps: what is done already, how much time is left, and how a command is run."""

    def __init__(self, out: Path, minutes: float | None, clock: Callable[[], float] = monotonic) -> None:
        self._out, self._clock = out, clock
        self._until = None if minutes is None else clock() + 60 * minutes
        self.ended = {one.name: one for one in _earlier(out)}

    def carry_out(self, steps: Sequence[Step], tell: Callable[[str], None]) -> None:
        """Carry out what is not done yet, in order, and keep how each ended after every one."""
        for step in steps:
            before = self.ended.get(step.name)
            if before is not None and before.state == "done" and not step.again:
                tell(f"{step.name}: done before")
                continue
            tell(f"{step.name}: {step.seconds:.0f} s expected: {step.command(self._out)}")
            self.ended[step.name] = ended = self._refused(step) or self._run(step)
            _keep(self._out, [*self.ended.values()])
            tell(f"{step.name}: {ended.told}")
            if ended.state == "failed" and ended.exit_code == BackendUnavailable.exit_code:
                return

    def settled(self, step: Step) -> bool:
        """Whether there is nothing left to do for a step."""
        ended = self.ended.get(step.name)
        return ended is not None and ended.state in ("done", "not here")

    def _refused(self, step: Step) -> Ended | None:
        """Return why a step is not begun; None if it is."""
        left = self._left()
        if left is not None and left < step.seconds:
            detail = f"{step.seconds:.0f} s are expected, {max(0.0, left):.0f} s are left"
            return Ended(name=step.name, command=step.command(self._out), state="not begun", detail=detail)
        measured = formats_in(self._out / "results")
        if step.dtype is not None and measured and step.dtype not in measured:
            detail = f"no product in {step.dtype} passed here"
            return Ended(name=step.name, command=step.command(self._out), state="not here", detail=detail)
        return None

    def _left(self) -> float | None:
        return None if self._until is None else self._until - self._clock()

    def _run(self, step: Step) -> Ended:
        logs = self._out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        told, said = logs / f"{step.name}.txt", logs / f"{step.name}.err.txt"
        began, started = now(), self._clock()
        left = self._left()
        limit = 60 + _PATIENCE * step.seconds if left is None else left
        with told.open("wb") as output, said.open("wb") as errors:
            command = [sys.executable, *step.arguments]
            code = run_within(command, limit, output, errors, _environment(self._out))
        through = step.leaves is not None and step.leaves.exists()
        return Ended(
            name=step.name,
            command=step.command(self._out),
            state="stopped" if code is None else "done" if code == 0 or through else "failed",
            seconds=round(self._clock() - started, 1),
            exit_code=code,
            began=began,
            detail=_why(code, limit, said),
        )


def run_within(
    command: Sequence[str], seconds: float, output: BinaryIO, errors: BinaryIO, environment: Mapping[str, str]
) -> int | None:
    """Return a command's exit code; None if it had to be stopped after `seconds`.

    It is asked to end first, so that a run saves what it has, and killed if it does not.
    """
    with subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=errors, env=environment) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TO_SAVE_S)
            process.kill()
            return None


def _why(code: int | None, limit: float, said: Path) -> str:
    """Return how a step ended, if not with 0."""
    if code is None:
        return f"not ended after {limit:.0f} s"
    lines = said.read_text(errors="replace").strip().splitlines() if code else []
    last = f" ({shortened(one_line(lines[-1]))})" if lines else ""
    return f"exit code {code}{last}" if code else ""


def _environment(out: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "CHIPBENCH_RESULTS": str(out / "results")}


def _earlier(out: Path) -> list[Ended]:
    try:
        return msgspec.json.decode((out / _STATE).read_bytes(), type=list[Ended])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        message = f"{out / _STATE}: {error}; name another folder, or delete this file to begin anew"
        raise click.ClickException(message) from error


def _keep(out: Path, ended: Sequence[Ended]) -> None:
    text = msgspec.json.format(msgspec.json.encode(ended)) + b"\n"
    (out / f"{_STATE}.new").write_bytes(text)
    (out / f"{_STATE}.new").replace(out / _STATE)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after so long; go on another time.")
@click.option("--only", multiple=True, metavar="STEP", help="This step alone; repeatable.")
@click.option("--list", "listed", is_flag=True, help="Show the steps, and begin none.")
def main(*, out: Path, minutes: float | None, only: tuple[str, ...], listed: bool) -> None:
    """Run on this GPU all that is to be run on a device, and keep it in OUT."""
    out = out.resolve()
    known = steps_into(out)
    unknown = {*only} - {step.name for step in known}
    if unknown:
        message = f"--only {min(unknown)}: no such step; there are {', '.join(step.name for step in known)}"
        raise click.UsageError(message)
    steps = [step for step in known if not only or step.name in only]
    if listed:
        click.echo("\n".join(f"{step.name:<16}{step.seconds:>5.0f} s  {step.command(out)}" for step in steps))
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        this = Round(out, minutes)
        try:
            this.carry_out(steps, lambda text: click.echo(text, err=True))
        finally:
            (out / "README.md").write_text(page(out, known, this.ended))
    except OSError as error:
        raise click.ClickException(f"cannot write: {one_line(error)}") from error
    click.echo(out / "README.md")
    sys.exit(not all(this.settled(step) for step in steps))


if __name__ == "__main__":
    main()
