"""The CUDA backend on a simulated GPU: what it offers on which chip, what it tells, what gets its own process."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.devices import cuda, environment
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import runtime
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.multiply import CUBLASLT, CUPY
from bench.errors import BackendUnavailable, CellFailed, InvalidRequest
from bench.measure.policy import GPU_OVERHEAD_S, Policy
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.records.record import encode_line
from bench.run import sizing
from bench.run.planning import Wish, resolve
from bench.run.request import as_chip
from bench.run.session import make_header
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Plan, Shape
from tests.simulated_gpu import SimulatedGpu

UUID = "GPU-00112233-4455-6677-8899-aabbccddeeff"
H100 = Gpu(
    index=1,
    name="NVIDIA H100 80GB HBM3",
    bus_id="0000:1b:00.0",
    cuda_index=0,
    pci_device_id="2330",
    uuid=UUID,
    sm_count=132,
    compute_capability="9.0",
    memory_bytes=85_520_809_984,
    l2_bytes=50 << 20,
    mig=False,
    ecc=True,
    power_limit_w=700.0,
    power_limit_default_w=700.0,
    other_processes=1,
    temperature_c=41.0,
)
EVERY = ["fp64", "fp32", "tf32", "fp16", "fp16_acc16", "bf16", "fp8", "int8", "nvfp4"]


@pytest.fixture(autouse=True)
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _here(monkeypatch, H100)
    for name in environment.FLAGGED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda, "has_nvmath", lambda: True)
    monkeypatch.setattr(CudaBackend, "_binding_fails", None)
    monkeypatch.setattr(cuda, "_versions", lambda _runtime, found, **_more: {"driver": str(found.driver)})


def _here(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    monkeypatch.setattr(cuda, "inventory", lambda: Inventory("580.65.06", 13000, gpus))


def backend(major: int = 9, minor: int = 0, **more: Any) -> CudaBackend:  # noqa: ANN401
    return CudaBackend(SimulatedGpu({"major": major, "minor": minor, **more}), None, other_processes=0)


def cell(dtype: str = "bf16", *, library: str = CUBLASLT, shape: Shape | None = None) -> Cell:
    return gemm.cells([dtype], [shape or gemm.square(256)], library=library, l2="rotate")[0]


class TestOffer:
    @pytest.mark.parametrize(
        ("capability", "missing"),
        [
            ((7, 0), ["tf32", "bf16", "fp8", "int8", "nvfp4"]),  # Volta
            ((7, 5), ["tf32", "bf16", "fp8", "nvfp4"]),  # Turing
            ((8, 0), ["fp8", "nvfp4"]),  # A100
            ((8, 6), ["fp8", "nvfp4"]),
            ((8, 9), ["nvfp4"]),  # Ada
            ((9, 0), ["nvfp4"]),  # Hopper
            ((10, 0), []),  # Blackwell
            ((12, 0), []),
        ],
    )
    def test_each_chip_has_the_formats_of_its_generation(
        self, capability: tuple[int, int], missing: list[str]
    ) -> None:
        here = backend(*capability)
        offered = [dtype for dtype in DTYPES if here.refusal("matmul", dtype) is None]
        assert offered == [dtype for dtype in EVERY if dtype not in missing]
        for dtype in missing:
            reason = str(here.refusal("matmul", dtype))
            assert reason.startswith(f"not on this chip: {dtype} needs compute capability ")
            assert reason.endswith(f"it has {capability[0]}.{capability[1]}")

    def test_cupy_multiplies_five_formats_and_says_why_not_the_rest(self) -> None:
        here = backend(10)
        refused = {dtype: here.refusal("matmul", dtype, CUPY) for dtype in EVERY}
        assert [dtype for dtype, why in refused.items() if why is None] == ["fp64", "fp32", "tf32", "fp16", "bf16"]
        assert "wraps at 8 bits" in str(refused["int8"])
        assert "FP32" in str(refused["fp16_acc16"])

    def test_without_nvmath_the_other_library_still_measures_and_the_pip_line_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cuda, "has_nvmath", lambda: False)
        here = backend()
        assert here.refusal("matmul", "bf16") is None
        assert "pip install -e '.[cuda13]'" in str(here.refusal("matmul", "bf16", CUBLASLT))
        assert "nvmath-python" in str(here.refusal("matmul", "fp8"))

    def test_a_binding_that_finds_no_library_leaves_the_other_to_measure(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(CudaBackend, "_binding_fails", "cublasLt cannot be used: no library")
        here = backend()
        assert here.refusal("matmul", "bf16") is None
        assert here.refusal("matmul", "bf16", CUBLASLT) == "cublasLt cannot be used: no library"
        assert here.refusal("matmul", "int8") == "cublasLt cannot be used: no library"

    def test_no_other_operation_or_library(self) -> None:
        assert "not convolution" in str(backend().refusal("convolution", "bf16"))
        assert "not numpy.matmul" in str(backend().refusal("matmul", "bf16", "numpy.matmul"))

    def test_a_shape_that_a_format_does_not_take_is_named(self) -> None:
        odd = Shape(m=32, n=32, k=100)
        assert "fp8 needs k in multiples of 16, not 100" in str(backend().misfit(cell("fp8", shape=odd)))
        assert backend().misfit(cell("bf16", shape=odd)) is None
        assert backend().misfit(cell("fp16", shape=odd, library=CUPY)) is None

    def test_memory_is_counted_over_all_sets_and_what_checking_takes(self) -> None:
        here, one = backend(l2CacheSize=50 << 20), cell(shape=gemm.square(8192))
        assert one.bytes_moved == 3 * 2 * 8192**2
        assert here.bytes_needed(one) > 2 * one.bytes_moved
        small = backend(l2CacheSize=50 << 20).bytes_needed(cell())
        assert small > 3 * (50 << 20)


class TestPlan:
    @pytest.fixture(autouse=True)
    def no_probe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gemm, "default_shape", lambda _seconds, sizes: gemm.square(sizes[-1]))
        monkeypatch.setattr(sizing.Sizer, "seconds", lambda *_: 1e-3)

    def test_every_dtype_by_every_library_that_offers_it_and_fp8_both_ways(self) -> None:
        plan, policy, notes = resolve(backend(), Wish())
        found = [(one.dtype_label, one.library) for one in plan.cells]
        assert found == [
            ("fp64", CUBLASLT), ("fp64", CUPY), ("fp32", CUBLASLT), ("fp32", CUPY), ("tf32", CUBLASLT),
            ("tf32", CUPY), ("fp16", CUBLASLT), ("fp16", CUPY), ("fp16_acc16", CUBLASLT), ("bf16", CUBLASLT),
            ("bf16", CUPY), ("fp8", CUBLASLT), ("fp8 fast", CUBLASLT), ("int8", CUBLASLT),
        ]  # fmt: skip
        assert {str(one.shape) for one in plan.cells} == {"8192³"}
        assert notes == ()
        assert policy.cap_s >= 0.8

    def test_all_of_it_fits_the_minute_at_the_longest(self) -> None:
        plan, policy, _ = resolve(backend(), Wish())
        device_s = sum(policy.longest_s(one.regime, cold=i == 0) for i, one in enumerate(plan.cells))
        assert policy.overhead_s == GPU_OVERHEAD_S
        assert device_s <= 60.0

    def test_a_quick_run_takes_the_first_library(self) -> None:
        plan, _, _ = resolve(backend(), Wish(quick=True, dtypes=["fp32", "bf16"]))
        assert [(one.dtype_name, one.library) for one in plan.cells] == [("fp32", CUBLASLT), ("bf16", CUBLASLT)]

    def test_one_library_measures_what_it_offers(self) -> None:
        plan, _, _ = resolve(backend(), Wish(libraries=[CUPY]))
        assert [one.dtype_name for one in plan.cells] == ["fp64", "fp32", "tf32", "fp16", "bf16"]
        with pytest.raises(InvalidRequest, match=r"fp8 is not measured on backend cuda: cupy.matmul has no FP8"):
            resolve(backend(), Wish(libraries=[CUPY], dtypes=["fp8"]))

    def test_a_sweep_leaves_out_what_would_take_too_long_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sizing.Sizer, "seconds", lambda *_: 0.2)  # of 8192³
        plan, _, notes = resolve(backend(), Wish(dtypes=["fp64"], libraries=[CUBLASLT], sweep=True))
        assert [str(one.shape) for one in plan.cells] == ["1024³", "2048³", "4096³", "8192³"]
        assert notes == ("fp64 16384³ is left out of the sweep: a call would take 1.6 s",)

    def test_thorough_is_the_sweep_and_at_the_default_size_bursts_and_all_data(self) -> None:
        plan, _, _ = resolve(backend(), Wish(dtypes=["int8"], thorough=True))
        assert [one.label for one in plan.cells] == [
            "int8 1024³", "int8 2048³", "int8 4096³", "int8 8192³", "int8 16384³", "int8 8192³ (zeros)",
            "int8 8192³ (constant)", "int8 8192³ (burst)",
        ]  # fmt: skip

    def test_a_sustained_load_is_a_regime_of_its_own(self) -> None:
        plan, policy, _ = resolve(backend(), Wish(dtypes=["int8"], sustained_s=30.0))
        (one,) = plan.cells
        assert one.regime == "sustained:30"
        assert policy.longest_s(one.regime, cold=False) > 30.0

    def test_more_cells_get_more_time(self) -> None:
        _, usual, _ = resolve(backend(), Wish(dtypes=["int8"]))
        _, swept, _ = resolve(backend(), Wish(dtypes=["int8"], sweep=True))
        assert swept.cap_s >= 0.9 * usual.cap_s

    def test_a_default_that_does_not_fit_gives_way_to_a_smaller_one(self) -> None:
        here = CudaBackend(SimulatedGpu(free=3 << 30), None)
        plan, _, _ = resolve(here, Wish(dtypes=["fp64"], libraries=[CUBLASLT]))
        assert [str(one.shape) for one in plan.cells] == ["4096³"]

    def test_no_gigabyte_of_the_free_memory_is_promised_to_operands(self) -> None:
        assert CudaBackend(SimulatedGpu(free=5 << 30), None).bytes_free() == 4 << 30
        assert CudaBackend(SimulatedGpu(free=1 << 20), None).bytes_free() == 0

    def test_an_odd_shape_is_refused_before_anything_is_made(self) -> None:
        wish = Wish(dtypes=["int8"], shapes=[Shape(m=7, n=8, k=9)])
        with pytest.raises(InvalidRequest, match="int8 7×8×9: int8 needs k in multiples of 4, not 9"):
            resolve(backend(), wish)


class TestIdentity:
    def test_it_is_what_driver_and_sensors_say(self) -> None:
        device = backend().device()
        assert (device.kind, device.name, device.folder) == ("gpu", "NVIDIA H100 80GB HBM3", "unknown-2330")
        assert (device.pci_device_id, device.sm_count, device.memory_bytes) == ("2330", 132, 85_520_809_984)
        assert device.chip is None

    def test_the_catalogue_names_the_chip(self) -> None:
        device = as_chip(backend().device(), Catalogue([shipped_specs()]).all())
        assert (device.chip, device.folder) == ("h100-sxm5-80gb", "h100-sxm5-80gb")
        assert "PCI id 2330" in str(device.identified_by)

    def test_a_chip_that_is_not_known_keeps_its_folder_and_the_reason(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _here(monkeypatch, H100._replace(pci_device_id="ffff"))
        device = as_chip(backend().device(), Catalogue([shipped_specs()]).all())
        assert (device.chip, device.folder) == (None, "unknown-ffff")
        assert device.identified_by == "PCI id ffff is no chip here"

    def test_without_sensors_cuda_tells_what_it_knows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _here(monkeypatch)
        device = backend().device()
        assert (device.name, device.sm_count, device.compute_capability) == ("NVIDIA H100 80GB HBM3", 132, "9.0")
        assert device.pci_device_id is None
        assert device.folder == "unknown-gpu"

    def test_a_record_holds_no_id_of_the_board_or_the_machine(self, tmp_path: Path) -> None:
        plan = Plan(workload="gemm", cells=(cell(),))
        head = make_header(backend(), plan, Policy(), tool="0.1.0", results=tmp_path, identify=False)
        line = encode_line(head).decode()
        assert UUID not in line
        assert H100.bus_id not in line
        assert head.device.key is not None

    def test_another_board_has_another_key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def key() -> str | None:
            plan = Plan(workload="gemm", cells=(cell(),))
            return make_header(
                backend(), plan, Policy(), tool="0.1.0", results=tmp_path, identify=False
            ).device.key

        first = key()
        assert key() == first
        _here(monkeypatch, H100._replace(uuid="GPU-another"))
        assert key() != first

    def test_settings_are_those_that_a_resumed_run_must_share(self) -> None:
        found = backend().environment()
        assert found.settings == {"power_limit_w": "700.0", "ecc": "true", "mig": "false"}
        assert found.conditions["temperature_c"] == "41.0"

    def test_other_processes_are_those_from_before_our_own_context(self) -> None:
        """NVML lists this very process too, in a container under a number that is not its own."""
        assert backend().environment().conditions["other_processes"] == "0"
        assert backend().caveats() == []

    def test_a_clock_that_cannot_be_counted_is_a_caveat(self) -> None:
        gpu = SimulatedGpu()
        gpu.clock_hz = None
        assert [caveat.code for caveat in CudaBackend(gpu, None).caveats()] == ["no_clock"]

    def test_what_bends_a_measurement_is_a_caveat(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _here(monkeypatch, H100._replace(power_limit_w=500.0, mig=True))
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        found = CudaBackend(SimulatedGpu(), None, other_processes=2).caveats()
        assert [caveat.code for caveat in found] == ["gpu_processes", "mig", "power_limit", "variable"]


class TestOwnProcess:
    @pytest.fixture(autouse=True)
    def spied(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
        made: list[tuple[str, dict[str, str]]] = []
        monkeypatch.setattr(
            cuda,
            "OwnProcessTask",
            lambda _backend, of, _seed, variables, **_more: made.append((of.dtype_name, variables)),
        )
        monkeypatch.setattr(cuda, "CudaTask", lambda _gpu, of, _seed, **_more: made.append((of.dtype_name, {})))
        return made

    @pytest.mark.parametrize(
        ("dtype", "library", "variable", "own"),
        [
            ("tf32", CUPY, None, {"CUPY_TF32": "1"}),
            ("tf32", CUPY, "0", {"CUPY_TF32": "1"}),
            ("tf32", CUPY, "1", {}),
            ("fp32", CUPY, None, {}),
            ("fp32", CUPY, "0", {}),
            ("fp32", CUPY, "1", {"CUPY_TF32": "0"}),  # what is called fp32 is fp32
            ("tf32", CUBLASLT, None, {}),
            ("fp32", CUBLASLT, "1", {}),
            ("bf16", CUPY, "1", {}),
        ],
    )
    def test_only_where_cupys_switch_is_not_what_the_cell_needs(
        self,
        dtype: str,
        library: str,
        variable: str | None,
        own: dict[str, str],
        spied: Sequence[tuple[str, dict[str, str]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if variable is not None:
            monkeypatch.setenv("CUPY_TF32", variable)
        backend().prepare(cell(dtype, library=library), 1)
        assert spied == [(dtype, own)]


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "kind", "said"),
        [
            (2, MemoryError, "said"),
            (46, BackendUnavailable, "compute mode is exclusive"),
            (700, BackendUnavailable, "Xid"),
            (802, BackendUnavailable, "nvidia-fabricmanager"),
            (999, BackendUnavailable, "--resume"),
        ],
    )
    def test_a_failure_of_the_device(self, status: int, kind: type[Exception], said: str) -> None:
        found = runtime._device_failure(status, "said")
        assert type(found) is kind
        assert said in str(found)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(1, MemoryError), (3, MemoryError), (15, CellFailed), (7, CellFailed), (13, BackendUnavailable)],
    )
    def test_a_failure_of_cublas_under_cupy(self, status: int, kind: type[Exception]) -> None:
        """What one product cannot do does not end the run; a device that fails does."""
        assert type(runtime._library_failure(status, "said")) is kind

    @pytest.mark.parametrize(
        ("count", "said"), [(1, None), (0, "it lists none"), (None, "cudaErrorNoDevice: no CUDA-capable device")]
    )
    def test_a_driver_without_a_visible_gpu_is_not_mended_by_another_cupy(
        self, count: int | None, said: str | None
    ) -> None:
        class CUDARuntimeError(RuntimeError):
            status = 1

        def device_count() -> int:
            if count is None:
                raise CUDARuntimeError(said)
            return count

        calls = SimpleNamespace(getDeviceCount=device_count, CUDARuntimeError=CUDARuntimeError)
        found = cuda._why_no_gpu(SimpleNamespace(cuda=SimpleNamespace(runtime=calls)))
        assert (found is None) == (said is None)
        assert found is None or ("CUDA_VISIBLE_DEVICES" in found and str(said) in found)
