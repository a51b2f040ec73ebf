"""Details of the CUDA backend: thresholds, sensors in a block, what opening it asks, what tells boards apart."""

import sys
import weakref
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.devices import cuda, environment
from bench.devices.base import Telemetry
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.cublaslt import NoAlgorithm
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.multiply import CUBLASLT, CUPY, CupyMatmul, multiplier, workspace_bytes
from bench.devices.nvidia.task import checking_bytes, sets_of
from bench.errors import BackendUnavailable, CellFailed
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape
from tests.simulated_cupy import CUDARuntimeError, Namespace
from tests.simulated_gpu import SimulatedGpu, TaskBench, multiplied
from tests.test_cuda_backend import H100

SHAPE = Shape(m=96, n=80, k=64)
TELEMETRY = Telemetry(readings=3, seconds=1.0)


def cell(dtype: str = "bf16", *, library: str = CUBLASLT) -> Cell:
    return gemm.cells([dtype], [SHAPE], library=library, l2="rotate")[0]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> TaskBench:
    return TaskBench(monkeypatch)


class Watcher:
    """Sensors that noted when they were asked, and say what a test lets them say."""

    def __init__(self, reading: Any = None) -> None:  # noqa: ANN401
        self.asked: list[str] = []
        self.reading = reading

    def begin(self) -> None:
        self.asked.append("begin")

    def window(self) -> Telemetry:
        self.asked.append("window")
        return TELEMETRY

    def seen(self) -> None:
        return None

    def latest(self) -> Any:  # noqa: ANN401
        return self.reading


class TestSensors:
    def test_a_block_holds_what_they_said_last(self, bench: TaskBench) -> None:
        task = bench.task(cell())
        vars(task)["_watcher"] = Watcher(SimpleNamespace(power_w=650.0, temperature_c=61.0))
        block = task.block(1)
        assert (block.power_w, block.temperature_c) == (650.0, 61.0)

    @pytest.mark.parametrize("watcher", [None, Watcher()])
    def test_where_they_are_silent_it_holds_nothing(self, bench: TaskBench, watcher: Watcher | None) -> None:
        task = bench.task(cell())
        vars(task)["_watcher"] = watcher
        block = task.block(1)
        assert (block.power_w, block.temperature_c) == (None, None)

    def test_a_window_is_begun_by_watching_and_read_once(self, bench: TaskBench) -> None:
        task, watcher = bench.task(cell()), Watcher()
        vars(task)["_watcher"] = watcher
        task.watch()
        assert task.observed() is TELEMETRY
        assert watcher.asked == ["begin", "window"]

    def test_without_any_there_is_no_window(self, bench: TaskBench) -> None:
        task = bench.task(cell())
        task.watch()
        assert task.observed() is None


class TestTask:
    @pytest.mark.parametrize(("seconds", "graphs"), [(4.9e-3, 1), (5.1e-3, 0)])
    def test_a_call_of_more_than_five_milliseconds_is_never_put_into_a_graph(
        self, bench: TaskBench, seconds: float, graphs: int
    ) -> None:
        bench.task(cell(), seconds=[seconds], enqueue_s=3e-3)
        assert len(bench.gpu.captured) == graphs

    @pytest.mark.parametrize(("seconds", "graphs"), [(2.4e-5, 1), (2.6e-5, 0)])
    def test_one_that_takes_five_times_its_enqueuing_needs_none(
        self, bench: TaskBench, seconds: float, graphs: int
    ) -> None:
        bench.task(cell(), seconds=[seconds], enqueue_s=5e-6)
        assert len(bench.gpu.captured) == graphs

    def test_a_graph_lasts_two_milliseconds_at_least(self, bench: TaskBench) -> None:
        """At 5 µs a call, the enqueuing's, 400 calls; of three sets 402, as 399 would be too short."""
        bench.task(cell(), seconds=[2e-6], enqueue_s=5e-6, sets=3)
        assert bench.gpu.captured == [402]

    def test_a_block_of_graphs_is_as_near_to_what_was_asked_as_whole_graphs_are(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=5e-6, sets=3)
        assert [task.block(calls).calls for calls in (1, 402, 600, 610)] == [402, 402, 402, 804]

    def test_the_latest_twenty_blocks_tell_whether_the_host_set_the_rate(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[1e-5], enqueue_s=9e-6, capturable=False)
        for _ in range(11):
            task.block(1)
        assert [caveat.code for caveat in task.caveats()] == ["launch_bound"]
        bench.library.seconds = lambda _candidate: 1e-3
        for _ in range(10):
            task.block(1)
        assert task.caveats() == []

    def test_before_any_block_nothing_is_said_of_the_host(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6], enqueue_s=9e-6, capturable=False)
        assert task.caveats() == []

    @pytest.mark.parametrize(
        ("dtype", "error", "said"),
        [
            ("tf32", 0.99e-5, ["not_tf32"]),
            ("tf32", 1.01e-5, []),
            ("fp8", 2.3e-3, []),
            ("fp8", 2.5e-3, ["fast_sums"]),
            ("fp32", 0.0, []),
            ("tf32", None, []),
        ],
    )
    def test_a_row_error_tells_what_a_format_really_was(
        self, bench: TaskBench, dtype: str, error: float | None, said: list[str]
    ) -> None:
        task = bench.task(cell(dtype))
        task._rows_error = error
        assert [caveat.code for caveat in task.caveats()] == said

    def test_a_gpu_that_is_lost_with_an_algorithm_is_lost_and_the_algorithm_not_left_out(
        self, bench: TaskBench
    ) -> None:
        def dies(_cell: Cell, _one: object) -> None:
            bench.gpu.lost = True
            raise NoAlgorithm

        with pytest.raises(BackendUnavailable, match="does not answer"):
            bench.task(cell(), multiply=dies)
        assert bench.library.closed

    def test_after_closing_nothing_holds_an_operand(self, bench: TaskBench) -> None:
        task = bench.task(cell(), seconds=[2e-6])
        held = [weakref.ref(array) for one in task._sets for array in one]
        task.close()
        assert [ref() for ref in held] == [None] * 9

    def test_outputs_of_earlier_blocks_do_not_pass_for_those_of_the_check(self, bench: TaskBench) -> None:
        """A library that after its first calls computes the first set only."""
        calls: dict[int, int] = {}

        def tires(of: Cell, one: Any) -> None:  # noqa: ANN401
            where = one.d.ctypes.data
            calls[where] = calls.get(where, 0) + 1
            if calls[where] <= 4 or where == next(iter(calls)):
                multiplied(of, one)

        task = bench.task(cell(), multiply=tires)
        task.block(30)
        assert not task.verify().passed

    @pytest.mark.parametrize(
        ("shape", "numbers"),
        [
            (Shape(m=9, n=2000, k=1000), 3 * 512 * 2000 + 64 * 7000),
            (Shape(m=9, n=1000, k=2000), 3 * 512 * 2000 + 64 * 5000),
        ],
    )
    def test_the_check_is_promised_room_for_chunks_and_sampled_rows_in_fp64(
        self, shape: Shape, numbers: int
    ) -> None:
        assert checking_bytes(shape) == 8 * (numbers + 6 * 2**24)


class TestMultiplier:
    @pytest.mark.parametrize(("major", "mib"), [(7, 4), (8, 4), (9, 32), (10, 32), (12, 32)])
    def test_the_workspace_is_what_nvidia_advises_for_the_generation(self, major: int, mib: int) -> None:
        assert workspace_bytes(SimulatedGpu({"major": major})) == mib * 2**20

    @pytest.mark.parametrize("fields", [{"shape": None}, {"compute": "int32"}])
    def test_a_cell_without_a_format_or_shape_fails(self, fields: dict[str, Any]) -> None:
        alien = msgspec.structs.replace(cell(library=CUPY), **fields)
        with pytest.raises(CellFailed, match="does not offer"):
            multiplier(SimulatedGpu(), alien)

    def test_cupys_own_product_is_asked_for_by_its_name_and_not_captured(self) -> None:
        found = multiplier(SimulatedGpu(), cell("fp32", library=CUPY))
        assert isinstance(found, CupyMatmul)
        assert not found.capturable
        found.close()


class TestBackend:
    def test_a_cell_without_a_format_or_shape_misfits_nowhere_and_needs_nothing(self) -> None:
        here = CudaBackend(SimulatedGpu(), None)
        for fields in ({"shape": None}, {"compute": "int32"}):
            assert here.misfit(msgspec.structs.replace(cell("fp8"), **fields)) is None
        assert here.bytes_needed(msgspec.structs.replace(cell(), shape=None)) == 0

    def test_what_a_cell_needs_is_its_sets_the_workspace_and_the_check(self) -> None:
        here = CudaBackend(SimulatedGpu({"l2CacheSize": 1 << 20}), None)
        operands = sets_of(cell(), 1 << 20) * cell().bytes_moved
        assert here.bytes_needed(cell()) == operands + (32 << 20) + checking_bytes(SHAPE)

    def test_of_several_gpus_it_is_the_one_on_its_own_bus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = H100._replace(bus_id="0000:9a:00.0", uuid="GPU-of-another")
        monkeypatch.setattr(cuda, "inventory", lambda: Inventory("580", 13000, (other, H100)))
        assert CudaBackend(SimulatedGpu(), None).identity() == H100.uuid

    @pytest.mark.parametrize("gpus", [(), (H100._replace(cuda_index=None),), (H100._replace(uuid=None),)])
    def test_a_board_that_does_not_tell_its_id_is_known_by_its_place(
        self, gpus: tuple[Gpu, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cuda, "inventory", lambda: Inventory("580", 13000, gpus))
        monkeypatch.setattr(environment, "machine_id", lambda: "this-machine")
        assert CudaBackend(SimulatedGpu(), None).identity() == "this-machine 0000:1b:00.0"

    def test_what_nvml_does_not_say_cuda_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuda, "inventory", lambda: Inventory(None, None, ()))
        device = CudaBackend(SimulatedGpu(), None).device()
        assert (device.name, device.folder) == ("NVIDIA H100 80GB HBM3", "unknown-gpu")
        assert (device.sm_count, device.memory_bytes, device.l2_bytes) == (132, 80 << 30, 50 << 20)
        assert device.compute_capability == "9.0"
        assert not device.mig

    def test_only_the_first_cell_that_is_not_a_probe_is_cold(self, bench: TaskBench) -> None:
        bench.task(cell())  # so that the next ones get a simulated library
        here = CudaBackend(bench.gpu, None)
        cold = [here.prepare(cell(), 1, probe=probe).cold for probe in (True, True, False, False)]
        assert cold == [True, True, True, False]


class Opening:
    """A machine whose driver, CuPy and chip a test may change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu = SimulatedGpu()
        self.runtime_version: int | Exception = 13000
        self.devices: int | Exception = 1
        self.compiler: int | Exception = 13
        runtime = Namespace(
            runtimeGetVersion=lambda: _or_raise(self.runtime_version),
            getDeviceCount=lambda: _or_raise(self.devices),
            CUDARuntimeError=CUDARuntimeError,
        )
        cublas = Namespace(getVersion=lambda _handle: 130201)
        cuda_ = Namespace(
            runtime=runtime, cublas=cublas, nvrtc=Namespace(getVersion=lambda: _or_raise(self.compiler))
        )
        self.cupy = Namespace(cuda=cuda_, __version__="14.0.1")
        self.sensors: object | None = None
        self.gpu.xp = self.cupy
        monkeypatch.setitem(sys.modules, "cupy", self.cupy)
        monkeypatch.setattr(cuda, "has_nvmath", lambda: False)
        monkeypatch.setattr(environment, "cuda_driver_version", lambda: 13000)
        monkeypatch.setattr(cuda, "lacking", lambda _driver: None)
        monkeypatch.setattr(cuda, "CupyRuntime", lambda: self.gpu)
        other = H100._replace(bus_id="0000:9a:00.0", other_processes=7)
        monkeypatch.setattr(cuda, "inventory", lambda: Inventory("580.65.06", 13000, (other, H100)))
        monkeypatch.setattr(cuda, "open_sensors", lambda bus_id: self.sensors and [bus_id, self.sensors])


def _or_raise(answer: int | Exception) -> int:
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Opening:
    return Opening(monkeypatch)


class TestOpen:
    def test_other_processes_are_counted_on_this_board_before_it_is_used(self, opening: Opening) -> None:
        here = cuda.open_backend()
        assert here.environment().conditions["other_processes"] == "1"
        assert "gpu_processes" in [caveat.code for caveat in here.caveats()]

    def test_its_own_sensors_are_watched_where_there_are_any(
        self, opening: Opening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cuda.open_backend()._watcher is None
        opening.sensors = "sensors"
        monkeypatch.setattr(cuda, "Watcher", lambda sensors, *, most_clock_hz: (sensors, most_clock_hz))
        assert vars(cuda.open_backend())["_watcher"] == (["0000:1b:00.0", "sensors"], H100.max_sm_clock_hz)

    @pytest.mark.parametrize("missing", ["CuPy is missing", None])
    def test_what_is_lacking_is_said_before_cupy_is_asked(
        self, opening: Opening, monkeypatch: pytest.MonkeyPatch, missing: str | None
    ) -> None:
        monkeypatch.setattr(environment, "cuda_driver_version", lambda: None)
        monkeypatch.setattr(cuda, "lacking", lambda _driver: missing)
        monkeypatch.setattr(cuda, "CupyRuntime", lambda: pytest.fail("opened"))
        with pytest.raises(BackendUnavailable, match=missing):
            cuda.open_backend()

    def test_a_chip_that_its_cuda_does_not_serve_is_refused(self, opening: Opening) -> None:
        opening.gpu.properties.update(major=7, minor=0)
        with pytest.raises(BackendUnavailable, match=r"CUDA 13 does not run on compute capability 7\.0"):
            cuda.open_backend()
        opening.runtime_version = 12080
        assert cuda.open_backend().device().compute_capability == H100.compute_capability

    @pytest.mark.parametrize("error", [ImportError("no libcublas"), RuntimeError("broken")])
    @pytest.mark.parametrize("part", ["runtime_version", "compiler"])
    def test_a_cupy_that_does_not_work_is_to_be_installed_anew(
        self, opening: Opening, error: Exception, part: str
    ) -> None:
        """Of a compiler or cuBLAS that is missing, CuPy by itself says so only in the first cell."""
        setattr(opening, part, error)
        with pytest.raises(BackendUnavailable, match=rf"cannot be used here \({error}\).*cuda13"):
            cuda.open_backend()

    def test_a_cupy_that_has_nowhere_to_keep_kernels_is_told_where_to(self, opening: Opening) -> None:
        """It makes the folder when it is imported, so that a home that cannot be written ends the import."""
        opening.runtime_version = PermissionError(13, "Permission denied", "/.cupy")
        with pytest.raises(BackendUnavailable, match="set CUPY_CACHE_DIR"):
            cuda.open_backend()

    def test_a_cupy_of_a_newer_line_than_the_driver_is_refused(self, opening: Opening) -> None:
        opening.runtime_version = 14000
        with pytest.raises(BackendUnavailable, match="the CuPy here is of CUDA 14"):
            cuda.open_backend()

    @pytest.mark.parametrize("devices", [0, CUDARuntimeError(100, "no CUDA-capable device")])
    def test_without_a_visible_gpu_there_is_no_backend(self, opening: Opening, devices: int | Exception) -> None:
        opening.devices = devices
        with pytest.raises(BackendUnavailable, match="gives CUDA programs no GPU"):
            cuda.open_backend()

    def test_versions_are_as_their_makers_write_them(self, opening: Opening) -> None:
        opening.runtime_version = 12080
        versions = cuda.open_backend().environment().versions
        assert versions["cublas"] == "13.2.1"
        assert (versions["cuda"], versions["driver_cuda"], versions["driver"]) == ("12.8", "13.0", "580.65.06")
        assert versions["cupy"] == "14.0.1"
        assert "cublaslt" not in versions

    def test_a_driver_that_does_not_tell_its_cuda_has_none(
        self, opening: Opening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = cuda.open_backend()
        monkeypatch.setattr(cuda, "inventory", lambda: Inventory("580.65.06", None, (H100,)))
        assert "driver_cuda" not in here.environment().versions

    @pytest.mark.parametrize(("value", "wanted"), [("", None), ("0", None), (None, None), ("1", "0")])
    def test_a_switch_that_is_set_to_nothing_is_off(
        self, opening: Opening, monkeypatch: pytest.MonkeyPatch, value: str | None, wanted: str | None
    ) -> None:
        monkeypatch.delenv("CUPY_TF32", raising=False)
        if value is not None:
            monkeypatch.setenv("CUPY_TF32", value)
        assert cuda.open_backend()._switch_for(cell("fp32", library=CUPY)) == wanted
