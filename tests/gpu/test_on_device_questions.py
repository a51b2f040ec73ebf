"""On a GPU: what the code takes from documentation only, put to the device. The answers are facts of the output.

Asserted is only what must hold anywhere; what differs between chips and libraries is noted.
"""

from typing import Any

import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import cublaslt
from bench.devices.nvidia.cublaslt import LtMatmul
from bench.devices.nvidia.inventory import inventory
from bench.devices.nvidia.multiply import CUBLASLT, workspace_bytes
from bench.devices.nvidia.runtime import CaptureFailed, CupyRuntime
from bench.errors import BackendUnavailable, CellFailed
from bench.units import DTYPES
from bench.workloads.gemm import square
from tests.gpu.cells import Fact, MakeTask, cell, needs, warmed

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "int8"])
def test_is_a_product_of_operands_that_are_not_transposed_offered(
    gpu: CudaBackend, monkeypatch: pytest.MonkeyPatch, fact: Fact, dtype: str
) -> None:
    """The plan is that of a square product, where only the flag differs."""
    needs(gpu, dtype, CUBLASLT)
    scaling = cublaslt._scaling

    def untransposed(*arguments: Any, **more: Any) -> dict[str, int]:  # noqa: ANN401
        return {**scaling(*arguments, **more), "TRANSA": 0}

    monkeypatch.setattr(cublaslt, "_scaling", untransposed)
    offered, answer = True, ""
    try:
        planned = LtMatmul(DTYPES[dtype], square(1024), workspace_bytes=workspace_bytes(gpu._runtime))
        answer = f"offered, {len(planned.algorithms)} algorithms"
        planned.close()
    except CellFailed as error:
        offered, answer = False, f"refused: {error}"
    fact(f"{dtype} NN", answer)
    assert offered or dtype != "bf16", "the question itself is wrong if even BF16 is refused"


def test_does_asking_for_algorithms_while_capturing_fail(gpu: CudaBackend, fact: Fact) -> None:
    """On a stream of its own, so that a capture that breaks disturbs nothing else."""
    needs(gpu, "bf16", CUBLASLT)
    runtime = CupyRuntime()
    asked: list[str] = []

    def ask() -> None:
        planned = LtMatmul(DTYPES["bf16"], square(1536), workspace_bytes=workspace_bytes(runtime))
        asked.append(f"works, {len(planned.algorithms)} algorithms")
        planned.close()

    try:
        runtime.capture(ask)
    except (CaptureFailed, BackendUnavailable, CellFailed) as error:
        asked.append(f"fails: {error}")
    fact("heuristic during capture", "; ".join(asked))
    assert asked
    gpu.prepare(cell("bf16", 512), 7).close()


def test_what_is_the_cache(gpu: CudaBackend, fact: Fact) -> None:
    (mine, *_) = [one for one in inventory().gpus if one.bus_id == gpu._runtime.bus_id]
    fact("L2 by CUDA's runtime", gpu._l2_bytes)
    fact("L2 by the driver", mine.l2_bytes)
    fact("workspace", workspace_bytes(gpu._runtime))
    assert gpu._l2_bytes >= 1 << 20
    assert mine.l2_bytes in {None, gpu._l2_bytes}


def test_does_fast_accumulation_change_a_product(gpu: CudaBackend, make_task: MakeTask, fact: Fact) -> None:
    """The very same operands, and sums of 8192 products."""
    needs(gpu, "fp8", CUBLASLT)
    bits, errors = [], []
    for fast in (False, True):
        task = make_task(cell("fp8", 8192, l2="hot", fast=fast))
        task.block(1)
        with gpu._runtime.current():
            bits.append(task._sets[0].d.copy())
        check = task.verify()
        fact(f"rows_error, {'fast' if fast else 'exact'}", check.rows_error)
        assert check.passed, check
        errors.append(check.rows_error or 0.0)
    with gpu._runtime.current():
        changed = float((bits[0] != bits[1]).mean())
    fact("share of results that differ", f"{changed:.4f}")
    assert errors[0] <= 1.05 * errors[1], "the exact sums are the worse ones"


def test_does_fast_accumulation_change_the_rate(gpu: CudaBackend, make_task: MakeTask, fact: Fact) -> None:
    needs(gpu, "fp8", CUBLASLT)
    seconds = []
    for fast in (False, True):
        task = make_task(cell("fp8", 8192, fast=fast))
        seconds.append(task.block(warmed(task, 1.5)).seconds_per_call)
    fact("fast over exact", f"{seconds[0] / seconds[1]:.4f}")


@pytest.mark.parametrize("dtype", ["fp64", "fp32", "tf32", "fp16", "fp16_acc16", "bf16", "fp8", "int8", "nvfp4"])
def test_how_many_operations_a_clock_does_a_multiprocessor(
    gpu: CudaBackend, make_task: MakeTask, fact: Fact, dtype: str
) -> None:
    """Of FP64, twice that of its plain units says that tensor cores ran; far more that it was emulated."""
    needs(gpu, dtype, CUBLASLT)
    task = make_task(cell(dtype, 4096))
    block = task.block(warmed(task, 1.0))
    assert block.cycles_per_call is not None
    count = int(gpu._runtime.properties["multiProcessorCount"])
    achieved = task._cell.flop / block.cycles_per_call / count
    fact("operations a clock and SM", f"{achieved:.1f}")
    fact("rate", f"{task._cell.flop / block.seconds_per_call:.4g}")
    fact("algorithm", dict(task.algorithm))
    assert 1 < achieved < 65536
