"""chipbench beside what people use instead: one process, the same buffers and stream, blocks in rotating order.

Needs a GPU and what the CUDA extras install; PyTorch too, to be compared with. For one format and size:

    python tests/benchmarks/peers.py --size 8192 --dtype bf16

Where chipbench is not installed, run it from the root of the checkout with PYTHONPATH=. before it. A format and
size takes about 40 s: all warm up for 3 s in turns, then blocks of 0.2 s follow in rounds, and each of the seven
or so contenders goes first equally often. The figure is the median of the rounds' ratios, so what drifts for all
cancels. Every product is checked. Exits with 1 if chipbench is slower than 0.99 of the best peer anywhere.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from bench.errors import CellFailed, ChipbenchError, InvalidRequest, one_line
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell
from tests.benchmarks.rounds import (
    GOAL,
    OURS,
    Contender,
    Series,
    Verdict,
    compete,
    document,
    exit_code,
    explained,
    rows_of,
    table,
    verdict,
)

if TYPE_CHECKING:
    from bench.devices.cuda import CudaBackend
    from bench.devices.nvidia.task import CudaTask
    from tests.benchmarks.contenders import Ring

_SIZES: Final = (4096, 8192)


def cells_for(backend: "CudaBackend", dtypes: Sequence[str], sizes: Sequence[int]) -> list[Cell]:
    """Return what to compare, each by chipbench's first library for it; without `dtypes`, in all that are offered.

    Raises InvalidRequest with the reason if one that was named is not offered here.
    """
    shapes = [gemm.square(size) for size in sizes]
    cells: list[Cell] = []
    for dtype in dtypes or DTYPES:
        offering = [one for one in backend.defaults.libraries if not backend.refusal(gemm.OPERATION, dtype, one)]
        if not offering and dtypes:
            message = f"{dtype}: {backend.refusal(gemm.OPERATION, dtype)}"
            raise InvalidRequest(message)
        cells += [cell for one in offering[:1] for cell in gemm.cells([dtype], shapes, library=one, l2="rotate")]
    return cells


def prepared(backend: "CudaBackend", cell: Cell) -> "CudaTask":
    """Return the cell's task after a measurement as the tool makes it: warmed up, its algorithm chosen."""
    from bench.devices.nvidia.task import CudaTask  # noqa: PLC0415 - `--help` must not need it
    from bench.measure.loop import measure  # noqa: PLC0415
    from bench.measure.policy import Policy  # noqa: PLC0415

    policy = Policy(cap_s=1.0)
    task = backend.prepare(cell, policy.seed)
    if not isinstance(task, CudaTask):
        task.close()
        message = "chipbench would measure this in a process of its own, where no buffer can be shared"
        raise CellFailed(message)
    try:
        measure(task, cell, policy)
    except BaseException:
        task.close()
        raise
    return task


def gathered(shared: "Ring") -> tuple[list[Contender], list[Series]]:
    """Return who takes part, and a series without blocks for each that cannot."""
    from tests.benchmarks.contenders import MAKERS, NotHere  # noqa: PLC0415 - `--help` must not need it

    found: list[Contender] = []
    absent: list[Series] = []
    for name, make in MAKERS.items():
        try:
            found += make(shared)
        except NotHere as reason:
            absent.append(Series(name, reason=one_line(reason)))
        except Exception as error:  # noqa: BLE001 - a peer's gap, whatever it is, must not end the comparison
            absent.append(Series(name, reason=explained(error)))
    return found, absent


def compared(backend: "CudaBackend", cell: Cell, rounds: int) -> list[Series]:
    """Return every contender's blocks for one cell."""
    from tests.benchmarks.contenders import ring  # noqa: PLC0415 - `--help` must not need it

    assert cell.dtype is not None
    with ExitStack() as closing:
        try:
            task = prepared(backend, cell)
        except (ChipbenchError, MemoryError) as error:
            return [Series(OURS, reason=explained(error))]
        closing.callback(task.close)
        contenders, absent = gathered(ring(backend, task, cell, cell.dtype, closing))
        return [*compete(contenders, rounds=rounds), *absent]


def surroundings(backend: "CudaBackend") -> dict[str, Any]:
    """Return device, versions, and where every cuBLAS was loaded from: PyTorch may bring another than CuPy's."""
    from bench.devices.environment import loaded_libraries  # noqa: PLC0415 - `--help` must not need it

    try:
        torch = import_module("torch")
        versions = {"torch": str(torch.__version__), "torch_cuda": str(torch.version.cuda)}
    except ImportError as error:
        versions = {"torch": f"missing ({one_line(error)})"}
    device = backend.device()
    return {
        "device": device.name,
        "pci_device_id": device.pci_device_id,
        "versions": {**backend.environment().versions, **versions},
        "loaded": loaded_libraries("libcublas", "libcublasLt"),
    }


def shown(cell: Cell, series: Sequence[Series]) -> tuple[Verdict, Mapping[str, Any]]:
    """Print one comparison; return its verdict and what JSON keeps of it."""
    rows = rows_of(series)
    said = verdict(rows)
    unit = cell.dtype.rate_label if cell.dtype else "FLOP/s"
    text = table(rows, flop=cell.flop, unit=unit)
    click.echo(f"\n{cell.dtype_label} {cell.shape}, chipbench by {cell.library}\n\n{text}\n\n{said.text}")
    kept = {
        "cell": cell.key,
        "reached": said.reached,
        "text": said.text,
        "contenders": document(rows, series, flop=cell.flop),
    }
    return said, kept


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--size", "sizes", multiple=True, type=click.IntRange(1), help="Square matrices; repeatable. [4096 8192]"
)
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(list(DTYPES)), help="Number format; repeatable."
)
@click.option("--rounds", type=click.IntRange(6), default=10, show_default=True, help="At least so many.")
@click.option(
    "--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write every block here, too."
)
def main(*, sizes: tuple[int, ...], dtypes: tuple[str, ...], rounds: int, path: Path | None) -> None:
    """Hold chipbench's rates against PyTorch, CuPy, nvmath and a bare cublasLt loop, in turns.

    The median of per-round ratios counts. Exits with 1 if chipbench stays below 0.99 of the best peer.
    """
    from bench.devices.cuda import open_backend  # noqa: PLC0415 - `--help` must not need it

    try:
        backend = open_backend()
        cells = cells_for(backend, dtypes, sizes or _SIZES)
    except ChipbenchError as error:
        click.echo(f"peers: {one_line(error)}", err=True)
        sys.exit(error.exit_code)
    found = [shown(cell, compared(backend, cell, rounds)) for cell in cells]
    around = surroundings(backend)
    click.echo("\n" + msgspec.json.format(msgspec.json.encode(around)).decode())
    if path is not None:
        kept = {"goal": GOAL, "rounds": rounds, **around, "comparisons": [one for _, one in found]}
        path.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    sys.exit(exit_code([said for said, _ in found]))


if __name__ == "__main__":
    main()
