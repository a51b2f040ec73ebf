"""A `run` over several devices: measure, say what is missing, show the fleet."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.cli.options import say, show
from bench.errors import INTERRUPTED_EXIT, TERMINATED_EXIT, ChipbenchError, NothingPassed, Terminated

if TYPE_CHECKING:
    from bench.cli.where import Where
    from bench.published.chips import Catalogue
    from bench.run.collecting import Collected
    from bench.run.engine import LeftOut
    from bench.run.request import Request
    from bench.run.session import StoppedBy

_MOST_NAMED = 8


class _Done(NamedTuple):
    """What a run came to; `others` are records of it that were complete before."""

    collected: "Sequence[Collected]"
    left_out: "Sequence[LeftOut]"
    stopped_by: "StoppedBy | None"
    seconds: float
    others: Sequence[Path] = ()

    @property
    def paths(self) -> list[Path]:
        """The records that nobody removed meanwhile, those that were complete before first."""
        return [path for path in (*self.others, *(one.path for one in self.collected)) if path.exists()]


def run_several(request: "Request", where: "Where", catalogue: "Catalogue", options: dict[str, Any]) -> None:
    """Measure on several devices, show what came of it, and exit with the code that this has."""
    from bench.cli.progress import cells_done  # noqa: PLC0415 - `--help` must not load it
    from bench.records.store import folder_key  # noqa: PLC0415
    from bench.run.collecting import folder_of, measure_several  # noqa: PLC0415
    from bench.run.several import arrange  # noqa: PLC0415

    started = monotonic()
    with where.engine() as (engine, indices):
        key = folder_key(folder_of(request))
        arranged = arrange(engine, request, key, indices=indices, together=where.together)
        for note in arranged.notes:
            say(note)
        _name(arranged.left_out)
        with cells_done() as on_progress:
            collected, stopped_by = measure_several(
                engine, arranged.begun, request, on_progress, patience_s=options["wait"]
            )
    _report(_Done(collected, arranged.left_out, stopped_by, monotonic() - started), catalogue, options)


def resume_several(
    record: Path, request: "Request", where: "Where", catalogue: "Catalogue", options: dict[str, Any]
) -> None:
    """Go on with the run over several devices that a record is of."""
    from bench.cli.progress import cells_done  # noqa: PLC0415 - `--help` must not load it
    from bench.run import resuming  # noqa: PLC0415

    started = monotonic()
    fleet = resuming.fleet_of_record(record)
    left = [lines.header for _, lines in fleet if lines.footer is None]
    members = [lines.header.member for _, lines in fleet if lines.header.member is not None]
    here, of = len({member.index for member in members}), members[0].of
    if here < of:
        say(f"of {of} devices of this run {here} have a record here that can be read")
    collected: list[Collected] = []
    left_out: Sequence[LeftOut] = ()
    stopped_by: StoppedBy | None = None
    if not left:
        say(f"{record} and the others of its run are complete: nothing to resume")
    else:
        with where.engine(resuming.places_for(left)) as (engine, indices), cells_done() as on_progress:
            collected, left_out, stopped_by = resuming.resume_several(
                engine,
                record,
                request,
                indices or dict.fromkeys(engine.places()),
                on_progress,
                patience_s=options["wait"],
            )
        if any(one.error is not None for one in collected):
            _name(left_out)  # of others it does not matter what is at places that are not needed
    untouched = [path for path, _ in fleet if path not in {one.path for one in collected}]
    done = _Done(collected, (), stopped_by, monotonic() - started, untouched)
    _report(done, catalogue, options)


def _name(left_out: "Sequence[LeftOut]") -> None:
    for one in left_out:
        say(f"left out: {one.place}: {one.why}")


def _report(done: _Done, catalogue: "Catalogue", options: dict[str, Any]) -> None:
    """Print the fleet, then where it was saved and what to do next; exit with what the outcome has."""
    passed = False
    try:
        passed = bool(done.paths) and _show(done.paths, catalogue, options["format_name"])
    finally:
        _tell(done, options)
    _exit(done, passed=passed)


def _tell(done: _Done, options: dict[str, Any]) -> None:
    """Say what is missing, what is saved where, and how to go on."""
    paths = done.paths
    broken = [one for one in done.collected if one.error is not None]
    for one in broken:
        say(f"not complete: {one.place or one.header.device.name}: {one.error}")
    folders = dict.fromkeys(path.parent for path in paths)
    for path in paths if len(paths) <= _MOST_NAMED else folders:
        say(f"saved  {path}")
    say(f"took   {done.seconds:.1f} s, {len(paths)} record{'' if len(paths) == 1 else 's'}")
    there = [one.path for one in broken if one.path in paths]
    if there:
        say(f"next   chipbench run --resume {shlex.quote(str(there[0]))}{_again(options)}")


def _again(options: dict[str, Any]) -> str:
    """Return the options by which the same cluster is reached again."""
    names = ("scheduler", "local_cluster", "tls_ca", "tls_cert", "tls_key", "specs_dir")
    given = [(name.replace("_", "-"), options[name]) for name in names if options[name]]
    usual = {"workers": 1, "wait": 30.0}
    given += [(name, f"{options[name]:g}") for name, value in usual.items() if options[name] != value]
    return "".join(f" --{name} {shlex.quote(str(value))}" for name, value in given)


def _show(paths: Sequence[Path], catalogue: "Catalogue", format_name: str) -> bool:
    """Print the fleet that these records are, and tell whether there is any rate in it."""
    from bench.analysis.fleet import fleet_of  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.links import links_of  # noqa: PLC0415
    from bench.report.fleet import fleet_view  # noqa: PLC0415

    fleet = fleet_of(paths, catalogue.known)
    show(fleet_view(fleet, links=links_of(fleet)), format_name)
    return fleet.has_rates


def _exit(done: _Done, *, passed: bool) -> None:
    from bench.run.collecting import summary_error  # noqa: PLC0415 - `--help` must not load it

    if isinstance(done.stopped_by, ChipbenchError):
        raise done.stopped_by
    if done.stopped_by is not None:
        sys.exit(TERMINATED_EXIT if isinstance(done.stopped_by, Terminated) else INTERRUPTED_EXIT)
    error = summary_error(done.collected, done.left_out)
    if error is not None:
        raise error
    if not passed:
        message = "no cell passed its check, so there is no rate to report; the records keep what happened"
        raise NothingPassed(message)
