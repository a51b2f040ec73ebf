"""A progress bar with the time left, on stderr and only where that is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.run.collecting import OnProgress, Progress
from bench.run.session import BlockDone, CellDone, CellStarted, Event, OnEvent


@contextmanager
def progress(longest_s: float) -> Iterator[OnEvent]:
    """Give a function to call with each event of a run that takes at most about `longest_s` device seconds."""
    if not sys.stderr.isatty():
        yield lambda _event: None
        return
    from rich.console import Console  # noqa: PLC0415 - loaded for a terminal only
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("at most about {task.fields[left]:.0f} s left"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=longest_s, left=longest_s)
        ends = 0.0
        done = 0.0

        def show(event: Event) -> None:
            nonlocal ends, done
            match event:
                case CellStarted():
                    ends = done + event.longest_s
                    label = f"{event.cell.label} ({event.number} of {event.total})"
                    bar.update(task, description=label)
                case BlockDone():
                    done = min(done + event.seconds, ends)
                case CellDone():
                    done = ends
            bar.update(task, completed=done, left=max(0.0, longest_s - done))

        yield show


@contextmanager
def cells_done() -> Iterator[OnProgress]:
    """Give a function to call with how far a run over several devices is."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    from rich.console import Console  # noqa: PLC0415 - loaded for a terminal only
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (BarColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(done: Progress) -> None:
            text = f"{done.cells} of {done.of_cells} cells, {done.records} of {done.of_records} records"
            bar.update(task, description=text, completed=done.cells, total=done.of_cells)

        yield show
