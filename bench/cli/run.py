"""`chipbench run`: measure, save, show."""

import shlex
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import click

from bench.cli.options import CONTEXT, catalogue_from, models_from, say, shared_options, show
from bench.cli.parameters import Seconds, ShapeType, Size
from bench.cli.where import Where, where_options
from bench.errors import INTERRUPTED_EXIT, TERMINATED_EXIT, ChipbenchError, NothingPassed, Terminated
from bench.units import DTYPES
from bench.version import VERSION
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.published.chips import Catalogue
    from bench.published.models import Model
    from bench.run.request import Request
    from bench.run.session import Outcome

# What decides the plan, so that a resumed or replayed record, which has its own, cannot take them.
_PLAN_OPTIONS: Final = (
    "backend", "source", "workload", "model", "elements", "dtypes", "sizes", "shapes", "quick", "sweep",
    "thorough", "sustained", "data", "processes", "identify", "gpu", "together",
)  # fmt: skip
_FLAGS: Final = {"source": "from", "dtypes": "dtype", "sizes": "size", "shapes": "shape"}
_BEST: Final = "best"
_BOTH: Final = "both"
_LIBRARIES: Final = (_BEST, _BOTH, "cublaslt", "cupy.matmul", "kernel", "memcpy")
_WORTH_SAYING_S: Final = 120.0
_DEFAULT_RESULTS: Final = Path("results")


@click.command("run", context_settings=CONTEXT)
@click.option(
    "--backend",
    type=click.Choice(["auto", "cuda", "cpu", "replay"]),
    default="auto",
    show_default=True,
    help="What to measure; auto takes the best that runs here.",
)
@click.option(
    "--workload",
    type=click.Choice(list(WORKLOADS)),
    default="gemm",
    show_default=True,
    help=f"{'; '.join(f'{name}: {what}' for name, what in WORKLOADS.items())}.",
)
@click.option("--model", metavar="ID", help="The model of workload llm, such as deepseek-r1 or llama-3-70b.")
@click.option(
    "--elements",
    type=Size(),
    metavar="N",
    help="FP32 numbers in each array of workload stream or p2p; far above a cache.",
)
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(list(DTYPES)), help="Number format; repeatable."
)
@click.option("--size", "sizes", multiple=True, type=Size(), help="Square matrices of this size; repeatable.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=ShapeType(),
    metavar="MxNxK",
    help="D[M,N] = A[M,K]·B[K,N]; repeatable.",
)
@click.option(
    "--library",
    type=click.Choice(_LIBRARIES),
    default=_BEST,
    show_default=True,
    help="On a GPU: measure both (--quick: the first) and show the better, show both, or measure one.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Less time a cell, wider intervals: the usual run takes 8 s on a CPU, half a minute on a GPU.",
)
@click.option("--sweep", is_flag=True, help="Squares from 1024 to 16384, as far as they fit.")
@click.option(
    "--thorough", is_flag=True, help="The sweep, and at the default size bursts after rest and all kinds of data."
)
@click.option(
    "--sustained",
    type=Seconds(),
    metavar="SECONDS",
    help="Load it this long in each format and library, after 10 to 60 s in which the power limit settles.",
)
@click.option(
    "--data",
    type=click.Choice(["normal", "zeros", "constant", "all"]),
    default="normal",
    show_default=True,
    help="What the operands hold; predictable data run faster than real ones.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 99),
    default=1,
    show_default=True,
    help="Measure in this many fresh processes, one record each; they show what one cannot.",
)
@where_options
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Go on with an interrupted record; of several devices, with all of its run.",
)
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="The record that the replay backend replays."
)
@click.option("--identify", is_flag=True, help="Write this machine's host name into the record.")
@shared_options()
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:  # noqa: ANN401 - Click passes every option by name
    """Measure this machine and save a record.

    Square matrix multiplies, one size per number format that fits the time, about 30 s on a CPU and 60 s on a
    GPU. Prints each rate with its 95 % interval beside the published figures.

    \b
    Examples:
      chipbench run
      chipbench run --quick --format json
      chipbench run --dtype fp32 --size 1024 --size 4096
      chipbench run --dtype bf16 --sustained 60
      chipbench run --workload stream
      chipbench run --workload llm --model deepseek-r1 --quick
      chipbench run --gpu all
      chipbench run --scheduler tcp://HOST:8786 --workers 16
      chipbench run --resume results/cpu-…/….jsonl
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.cli.several import resume_several, run_several  # noqa: PLC0415 - `--help` must not load it
    from bench.run.request import Request  # noqa: PLC0415
    from bench.run.session import stop_on_signals  # noqa: PLC0415

    started = monotonic()
    given = {name for name in options if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    catalogue = catalogue_from(options["specs_dir"])
    where = Where(options, given)
    with stop_on_signals():
        asked = None
        if options["resume"] is not None:
            _refuse(_of_plan(options, given), "--resume takes its plan from the record")
            if where.on_cluster or _is_of_several(options["resume"]):
                request = Request(tool=VERSION, results=options["resume"].absolute().parent.parent)
                resume_several(options["resume"], request, where, catalogue, options)
                return
            outcomes = [_resume(options["resume"])]
        else:
            request = _request(options, given, catalogue, where)
            if where.several:
                run_several(request, where, catalogue, options)
                return
            outcomes, asked = _measure(request), request.wish.model
        seconds = monotonic() - started
        model = _measured_model(outcomes[0].header.plan.model, asked, options["specs_dir"])
        _report(outcomes, options, catalogue, model, seconds)


def _is_of_several(path: Path) -> bool:
    from bench.records.record import read_header  # noqa: PLC0415 - `--help` must not load it

    return read_header(path).member is not None


def _request(options: dict[str, Any], given: set[str], catalogue: "Catalogue", where: Where) -> "Request":
    from bench.run.planning import ALL_DATA, Wish  # noqa: PLC0415 - `--help` must not load it
    from bench.run.request import Request  # noqa: PLC0415
    from bench.workloads.base import Shape  # noqa: PLC0415

    replaying = options["backend"] == "replay"
    if (options["source"] is not None) != replaying:
        message = "--backend replay and --from RECORD go together"
        raise click.UsageError(message)
    if replaying:
        _refuse(_of_plan(options, given) - {"backend", "source"}, "a replay takes its plan from the record")
    if options["quick"] and options["sustained"] is not None:
        message = "--quick and --sustained contradict each other; leave one out"
        raise click.UsageError(message)
    _check_workload(options, given)
    squares = [(size, size, size) for size in options["sizes"]]
    wish = Wish(
        workload=options["workload"],
        dtypes=options["dtypes"],
        shapes=[Shape(m=m, n=n, k=k) for m, n, k in (*squares, *options["shapes"])],
        libraries=() if options["library"] in {_BEST, _BOTH} else (options["library"],),
        data=ALL_DATA if options["data"] == "all" else (options["data"],),
        quick=options["quick"],
        sweep=options["sweep"],
        thorough=options["thorough"],
        sustained_s=options["sustained"],
        model=_model(options),
        elements=options["elements"],
    )
    return Request(
        tool=VERSION,
        backend=options["backend"],
        source=options["source"],
        wish=wish,
        chips=catalogue.all(),
        processes=options["processes"],
        results=None if replaying and "results_dir" not in given else options["results_dir"],
        identify=options["identify"],
        index=where.index,
        together=where.together or _beside_others(where),
    )


def _beside_others(where: Where) -> bool:
    """Whether a launcher runs several of this command here at once; that is said, and the cells tell it, too."""
    from bench.run.ranks import ranks_here  # noqa: PLC0415 - `--help` must not load it

    if (ranks := ranks_here()) < 2:
        return False
    if where.several:
        message = (
            f"{ranks} processes of this job run on this machine, and each would measure the same devices; give "
            "each its own with --gpu, or start one"
        )
        raise click.UsageError(message)
    say(f"{ranks} processes of this job run on this machine at once: recorded as together")
    return True


# What each workload but gemm takes of the options that choose cells.
_TAKES: Final = {
    "skinny": {"dtypes", "shapes", "data", "sustained"},
    "stream": {"elements", "data", "sustained"},
    "llm": {"model", "dtypes", "data", "sustained"},
    "p2p": {"elements", "data", "sustained"},
}
_CHOOSING: Final = {"dtypes", "sizes", "shapes", "sweep", "thorough", "data", "sustained", "model", "elements"}


def _check_workload(options: dict[str, Any], given: set[str]) -> None:
    """Refuse options that the workload has no use for, and llm without a model."""
    workload = options["workload"]
    clash = (given & _CHOOSING) - _TAKES.get(workload, _CHOOSING - {"model", "elements"})
    _refuse(clash, f"workload {workload} does not take that")
    if workload == "llm" and options["model"] is None:
        message = "workload llm needs --model, such as --model deepseek-r1"
        raise click.UsageError(message)
    if workload == "skinny" and len(options["shapes"]) > 1:
        message = "workload skinny takes n and k from one --shape; leave out the others"
        raise click.UsageError(message)


def _model(options: dict[str, Any]) -> "Model | None":
    return None if options["model"] is None else models_from(options["specs_dir"]).find(options["model"])


def _measured_model(name: str | None, asked: "Model | None", specs_dir: Path | None) -> "Model | None":
    """Return the model that a record names, which may be the one `asked` for.

    Without its file its steps cannot be summed up, which is said.
    """
    if name is None or (asked is not None and asked.id == name):
        return None if name is None else asked
    models = models_from(specs_dir)
    if name not in models:
        say(f"no model {name!r} here, so its steps are not shown; --specs-dir may name a folder that has it")
        return None
    return models[name]


def _of_plan(options: dict[str, Any], given: set[str]) -> set[str]:
    """Return the options given that decide a plan; one library does, which of several to show does not."""
    one_library = {"library"} if options["library"] not in {_BEST, _BOTH} else set()
    return given & {*_PLAN_OPTIONS} | one_library


def _refuse(clash: set[str], why: str) -> None:
    if clash:
        names = ", ".join(f"--{_FLAGS.get(name, name)}" for name in sorted(clash))
        message = f"{why}; leave out {names}"
        raise click.UsageError(message)


def _measure(request: "Request") -> "list[Outcome]":
    from bench.cli.progress import progress  # noqa: PLC0415 - `--help` must not load it
    from bench.run.request import execute, prepare  # noqa: PLC0415

    prepared = prepare(request)
    for note in prepared.notes:
        say(note)
    longest = prepared.longest_s(request.processes)
    if longest > _WORTH_SAYING_S:
        say(f"this takes at most about {longest / 60:.0f} minutes; Ctrl-C keeps what is finished")
    with progress(longest) as on_event:
        return execute(prepared, request, on_event)


def _resume(path: Path) -> "Outcome":
    from bench.cli.progress import progress  # noqa: PLC0415 - `--help` must not load it
    from bench.records.record import read_lines  # noqa: PLC0415
    from bench.run.session import longest_left, resume  # noqa: PLC0415

    lines = read_lines(path)
    if lines.footer is not None:
        say(f"{path} is complete: nothing to resume")
    with progress(longest_left(lines)) as on_event:
        return resume(path, tool=VERSION, on_event=on_event)


def _report(
    outcomes: "list[Outcome]",
    options: dict[str, Any],
    catalogue: "Catalogue",
    model: "Model | None",
    seconds: float,
) -> None:
    """Print the table, then where it was saved and what to do next; exit with what the outcome has."""
    from bench.report.measured import Run, run_view  # noqa: PLC0415 - `--help` must not load it

    last = outcomes[-1]
    own = catalogue.known(last.header.device.chip)
    paths = [str(outcome.path) for outcome in outcomes if outcome.path is not None]
    run = Run(
        header=outcomes[0].header,
        processes=[outcome.readings for outcome in outcomes],
        paths=paths,
        seconds=seconds,
        interrupted=last.stopped_by is not None,
        best_only=options["library"] == _BEST,
        model=model,
    )
    context = [catalogue.resolve(name).chip for name in catalogue.context]
    try:
        show(run_view(run, own, context), options["format_name"])
    finally:  # wherever the table goes, and if that is full: what was measured is there
        for path in paths:
            say(f"saved  {path}")
    say(f"took   {seconds:.1f} s")
    if last.stopped_by is not None:
        _stopped(last, options["source"])
    readings = [reading for outcome in outcomes for reading in outcome.readings]
    if not any(reading.passed for reading in readings):
        message = "no cell passed its check, so there is no rate to report; the record keeps what happened"
        raise NothingPassed(message)
    for line in _next_commands(last.path, catalogue.context):
        say(f"next   {line}")


def _next_commands(saved: Path | None, context: "Sequence[str]") -> list[str]:
    """Return two commands that fit: a comparison of what was saved, from the folder that it was saved in."""
    chips = " ".join(context)
    if saved is None:
        return ["chipbench run", f"chipbench chips {chips}"]
    results = saved.parent.parent
    where = "" if results == _DEFAULT_RESULTS else f" --results-dir {shlex.quote(str(results))}"
    return [f"chipbench compare latest {chips}{where}", f"chipbench chips {chips}"]


def _stopped(outcome: "Outcome", replayed: Path | None) -> None:
    """Say how to go on with an interrupted record, or replay one again; exit with the code of what stopped it."""
    if replayed is not None:
        say(f"next   chipbench run --backend replay --from {shlex.quote(str(replayed))}")
    elif outcome.path is not None:
        say(f"next   chipbench run --resume {shlex.quote(str(outcome.path))}")
    if isinstance(outcome.stopped_by, ChipbenchError):
        raise outcome.stopped_by
    sys.exit(TERMINATED_EXIT if isinstance(outcome.stopped_by, Terminated) else INTERRUPTED_EXIT)
