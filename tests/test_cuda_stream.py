"""Copy and triad on a GPU of host memory: every kernel's work, the choice among them, what the check finds out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.stream import KERNEL, MEMCPY, StreamTask
from bench.errors import CellFailed
from bench.measure.loop import measure
from bench.workloads import stream
from bench.workloads.base import Cell, Data
from tests.gpu_lab import Lab
from tests.simulated_gpu import SimulatedGpu, streamed
from tests.support import TINY

COUNTS: Final = (1, 3, 4, 1023, 4096, 5001)


def cell(operation: str = "copy", count: int = 4099, library: str = KERNEL, *, data: Data = "normal") -> Cell:
    (made,) = stream.cells([operation], count, library=library, data=data)
    return made


def task_of(of: Cell, gpu: SimulatedGpu | None = None) -> StreamTask:
    return StreamTask(gpu or SimulatedGpu({"l2CacheSize": 4096}), of, 7, cold=False, watcher=None)


class TestWork:
    @pytest.mark.parametrize("count", COUNTS)
    @pytest.mark.parametrize(("operation", "library"), [("copy", KERNEL), ("copy", MEMCPY), ("triad", KERNEL)])
    def test_every_way_is_right(self, operation: str, library: str, count: int) -> None:
        task = task_of(cell(operation, count, library))
        for candidate in range(len(task.candidates)):
            task.use(candidate)
            check = task.verify()
            assert check.passed, (task.algorithm, check)

    def test_a_block_has_as_many_calls_as_asked_and_their_time(self) -> None:
        gpu = SimulatedGpu()
        task = task_of(cell(), gpu)
        gpu.launched.clear()
        block = task.block(5)
        assert (block.calls, len(gpu.launched)) == (5, 5)
        assert block.seconds_per_call == pytest.approx(1e-3)
        assert block.cycles_per_call == pytest.approx(1.5e6)

    def test_the_fastest_kernel_is_chosen(self) -> None:
        gpu = SimulatedGpu()
        gpu.seconds_of = lambda name, block: 1e-3 if (name, block) == ("triad_cs", 512) else 1.1e-3
        task = task_of(cell("triad"), gpu)
        measured = measure(task, cell("triad"), TINY)
        assert (measured.algorithm["kernel"], measured.algorithm["block"]) == ("triad_cs", 512)
        assert measured.search is not None
        assert len(measured.search.candidates) == 6

    def test_the_driver_s_copy_has_one_way(self) -> None:
        task = task_of(cell(library=MEMCPY))
        assert list(task.candidates) == [{"by": "cudaMemcpyAsync"}]

    @pytest.mark.parametrize(("data", "mean", "sd"), [("zeros", 0.0, 0.0), ("constant", 1.0, 0.0)])
    def test_what_the_arrays_hold_is_told(self, data: Data, mean: float, sd: float) -> None:
        found = task_of(cell("triad", data=data)).data
        assert sorted(found) == ["a", "b"]
        assert {(one.mean, one.sd) for one in found.values()} == {(mean, sd)}
        normal = task_of(cell("triad")).data
        assert all(one.sd == pytest.approx(1, abs=0.1) for one in normal.values())
        assert normal["a"] != normal["b"]

    def test_a_cell_without_elements_is_none_for_it(self) -> None:
        with pytest.raises(CellFailed, match="does not offer"):
            task_of(Cell(operation="copy", version=1))


def nothing(_name: str, *_arrays: Any) -> None:  # noqa: ANN401
    """Leave the output as it was."""


def last_left_out(name: str, *arrays: Any) -> None:  # noqa: ANN401
    kept = arrays[-1][-1]
    streamed(name, *arrays)
    arrays[-1][-1] = kept


def swapped(name: str, *arrays: Any) -> None:  # noqa: ANN401
    streamed(name, *arrays)
    arrays[-1][[0, 5]] = arrays[-1][[5, 0]]


def remembering() -> Callable[..., None]:
    first: list[Any] = []

    def work(name: str, *arrays: Any) -> None:  # noqa: ANN401
        if not first:
            streamed(name, *arrays)
            first.append(arrays[-1].copy())
        arrays[-1][...] = first[0]

    return work


WRONGS: Final = ("nothing", "last left out", "two swapped", "the first result again")


class TestCheck:
    @pytest.mark.parametrize("operation", ["copy", "triad"])
    @pytest.mark.parametrize(
        "wrong", [lambda: nothing, lambda: last_left_out, lambda: swapped, remembering], ids=WRONGS
    )
    def test_wrong_work_is_found_out(self, wrong: Callable[[], Callable[..., None]], operation: str) -> None:
        assert task_of(cell(operation)).verify().passed
        gpu = SimulatedGpu()
        gpu.stream_work = wrong()
        assert not task_of(cell(operation), gpu).verify().passed

    def test_a_triad_that_ignores_b_or_its_factor_is_found_out(self) -> None:
        gpu = SimulatedGpu()
        task = task_of(cell("triad"), gpu)
        for factor in (0.0, 1.0, 2.99):
            gpu.stream_work = lambda _name, a, b, _s, c, by=factor: np.copyto(c, a + np.float32(by) * b)
            assert not task.verify().passed


class TestCaveats:
    def test_arrays_that_fit_the_cache_are_told(self) -> None:
        gpu = SimulatedGpu({"l2CacheSize": 1 << 20})
        (found,) = task_of(cell(), gpu).caveats()
        assert (found.code, found.values["l2"]) == ("in_cache", float(1 << 20))
        assert not task_of(cell(count=1 << 19), gpu).caveats()

    def test_a_host_that_is_too_slow_is_told(self) -> None:
        gpu = SimulatedGpu({"l2CacheSize": 16})
        gpu.seconds_of = lambda _name, _block: 1e-6
        task = task_of(cell(), gpu)
        task.block(8)
        assert [one.code for one in task.caveats()] == ["launch_bound"]


class TestBackend:
    @pytest.mark.parametrize(
        ("operation", "dtype", "library", "reason"),
        [
            ("copy", "fp32", None, None),
            ("copy", "fp32", MEMCPY, None),
            ("triad", "fp32", KERNEL, None),
            ("triad", "fp32", MEMCPY, "adds nothing"),
            ("copy", "bf16", None, "not bf16"),
            ("copy", "fp32", "cublaslt", "not cublaslt"),
        ],
    )
    def test_what_it_offers(self, operation: str, dtype: str, library: str | None, reason: str | None) -> None:
        found = CudaBackend(SimulatedGpu(), None).refusal(operation, dtype, library)
        assert (found is None) if reason is None else reason in str(found)

    def test_a_cell_needs_its_arrays_and_something_to_check_them(self) -> None:
        backend = CudaBackend(SimulatedGpu(), None)
        assert backend.bytes_needed(cell("triad", 1 << 28)) == (3 << 30) + (1 << 30)
        assert backend.defaults.elements * 4 == 1 << 30


class TestRun:
    def test_the_better_of_kernel_and_driver_is_shown_in_bytes_a_second(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        lab = Lab(monkeypatch, tmp_path)
        # So that copy moves 4 GB/s by the driver, and 3 % more by the kernel.
        moved = 8.0 * (1 << 16)
        lab.gpu.seconds_of = lambda name, _block: moved / 4e9 * (1.0 if name == "memcpy" else 1 / 1.03)
        answer = lab.run("--workload", "stream", "--elements", str(1 << 16))
        assert answer.code == 0, answer.err
        copy, triad = answer.rows
        assert "kernel" in copy
        assert " 4.120 GB/s " in " ".join(copy)
        assert " 6.180 GB/s " in " ".join(triad)
        assert "0.123 % of 3350 GB/s (memory_bandwidth)" in " ".join(copy)
        both = lab.run("--workload", "stream", "--elements", str(1 << 16), "--library", "both")
        assert len(both.rows) == 3
        alone = lab.run("--workload", "stream", "--elements", str(1 << 16), "--library", "memcpy")
        assert len(alone.rows) == 1
