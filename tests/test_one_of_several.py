"""One GPU of several: chosen as `chipbench devices` counts, whatever order CUDA programs see them in."""

from pathlib import Path

import pytest

from bench.devices import cuda, open_backend
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import task
from bench.devices.nvidia.gpu import Inventory
from bench.devices.nvidia.inventory import seen_as, visible
from bench.devices.nvidia.multiply import CUPY
from bench.devices.nvidia.own_process import Where
from bench.errors import BackendUnavailable, InvalidRequest
from bench.run.choosing import choose
from bench.run.collecting import measure_several
from bench.run.local import LocalEngine
from bench.run.several import Begun
from bench.workloads import gemm
from tests.places_lab import KEY, request
from tests.simulated_gpu import SimulatedGpu
from tests.test_cuda_backend import H100
from tests.test_member import measure

# NVML counts by place, CUDA put the last one first, and one is hidden from CUDA programs.
GPUS = (
    H100._replace(index=0, bus_id="0000:01:00.0", cuda_index=1),
    H100._replace(index=1, bus_id="0000:02:00.0", cuda_index=None),
    H100._replace(index=2, bus_id="0000:1b:00.0", cuda_index=0),
)
MACHINE = Inventory("580.65.06", 13000, GPUS)


def test_cuda_s_number_of_a_gpu_is_another_than_its_index() -> None:
    assert visible(MACHINE) == [0, 2]
    assert [seen_as(MACHINE, index) for index in (0, 2)] == [1, 0]


@pytest.mark.parametrize(("index", "error"), [(1, BackendUnavailable), (3, InvalidRequest), (-1, InvalidRequest)])
def test_one_that_is_hidden_or_not_there_is_said(index: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"GPU {index}"):
        seen_as(MACHINE, index)


def test_a_slice_of_a_gpu_is_one_index(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = tuple(GPUS[0]._replace(cuda_index=number, mig=True) for number in (0, 1))
    assert visible(Inventory(None, None, slices)) == [0]


class Opened:
    """What was opened: CUDA's number of it, and the simulated GPU that stands for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ordinals: list[int] = []
        self.own: list[Where] = []
        monkeypatch.setattr("bench.devices.environment.cuda_driver_version", lambda: 13000)
        monkeypatch.setattr(cuda, "lacking", lambda _driver: None)
        monkeypatch.setattr(cuda, "_cuda_of_cupy", lambda _driver: 13000)
        monkeypatch.setattr(cuda, "inventory", lambda: MACHINE)
        monkeypatch.setattr(cuda, "open_sensors", lambda _bus_id: None)
        monkeypatch.setattr(cuda, "CupyRuntime", self._open)
        monkeypatch.setattr(cuda, "OwnProcessTask", lambda where, *_args, **_more: self.own.append(where))

    def _open(self, ordinal: int = 0) -> SimulatedGpu:
        self.ordinals.append(ordinal)
        gpu = SimulatedGpu()
        gpu.bus_id = next(one.bus_id for one in GPUS if one.cuda_index == ordinal)
        return gpu


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


@pytest.mark.parametrize(("index", "ordinal"), [(0, 1), (2, 0), (None, 0)])
def test_the_backend_is_of_that_one_and_says_so(opened: Opened, index: int | None, ordinal: int) -> None:
    backend = open_backend("cuda", index)
    assert isinstance(backend, CudaBackend)
    assert opened.ordinals == [ordinal]
    assert backend.device().index == (2 if index is None else index)


def test_tf32_by_cupy_is_computed_by_the_same_one_in_its_own_process(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "multiplier", lambda *_: None)
    monkeypatch.delenv("CUPY_TF32", raising=False)
    (cell,) = gemm.cells(["tf32"], [gemm.square(64)], library=CUPY, l2="rotate")
    open_backend("cuda", 0).prepare(cell, 7)
    assert opened.own == [Where("cuda", 0)]


def test_with_an_index_auto_is_a_gpu_or_an_error(opened: Opened) -> None:
    assert choose("auto", 0).backend.name == "cuda"
    with pytest.raises(InvalidRequest, match="no GPU 9 here; there are: 0, 1, 2"):
        choose("auto", 9)
    with pytest.raises(InvalidRequest, match="no CPU 0 to choose"):
        choose("cpu", 0)


@pytest.mark.slow
def test_real_processes_of_this_machine_make_whole_records(tmp_path: Path) -> None:
    """As `--gpu all` does, with a CPU in the place of GPUs: nothing is simulated but how long a cell takes."""
    results = tmp_path / "results"
    results.mkdir()
    (results / ".key").write_bytes(KEY)
    places = ["first", "second"]
    headers = [measure(2, id=f"{index:012x}").header for index in range(2)]
    engine = LocalEngine(places)
    begun = [Begun(place, header) for place, header in zip(places, headers, strict=True)]
    collected, stopped_by = measure_several(engine, begun, request(results), lambda _progress: None)
    assert stopped_by is None
    assert [one.error for one in collected] == [None, None]
