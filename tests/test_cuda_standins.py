"""The CUDA backend with the real bindings of cublasLt and NVML, on C stand-ins: every format, from cell to record.

The stand-in computes on host memory, so a wrong layout, type, scale or attribute gives a wrong product, and the
backend's own check finds it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.devices import cuda, environment
from bench.devices.base import Check
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import multiply
from bench.devices.nvidia.multiply import CUBLASLT, CUPY
from bench.devices.nvidia.nvml import open_sensors
from bench.devices.nvidia.runtime import Timed
from bench.devices.nvidia.watch import Watcher
from bench.records.record import Lines, read_lines
from bench.units import DTYPES
from bench.workloads import gemm
from bench.workloads.base import Cell, Shape
from tests.simulated_gpu import SimulatedGpu
from tests.standins import StandIns
from tests.support import TINY
from tests.test_nvml import Step, apply

SHAPE = Shape(m=48, n=32, k=64)
BLACKWELL = {"major": 10, "minor": 0, "l2CacheSize": 4096}
BUS_ID = "0000:1b:00.0"


class HostTimed(SimulatedGpu):
    """A GPU whose time is the host's: the stand-in computes there."""

    def timed(self, enqueue: Callable[[], None]) -> Timed:
        started = perf_counter()
        enqueue()
        seconds = perf_counter() - started
        return Timed(seconds, 1e-7, self.clock_hz)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        return partial(enqueue)


def cells(dtype: str, library: str = CUBLASLT) -> list[Cell]:
    return gemm.cells([dtype], [SHAPE], library=library, l2="rotate")


def verified(dtype: str, library: str = CUBLASLT) -> list[Check]:
    backend = CudaBackend(HostTimed(BLACKWELL), None)
    checks = []
    for cell in cells(dtype, library):
        task = backend.prepare(cell, 7)
        task.block(5)
        checks.append(task.verify())
        task.close()
    return checks


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_every_format_is_right_through_the_real_binding(in_standins: StandIns, dtype: str) -> None:
    checks = in_standins(verified, dtype)
    assert len(checks) == (2 if dtype == "fp8" else 1)
    assert all(check.passed for check in checks), checks


def caveats_of(dtype: str) -> list[str]:
    task = CudaBackend(HostTimed(BLACKWELL), None).prepare(cells(dtype)[0], 7)
    task.verify()
    return [caveat.code for caveat in task.caveats()]


@pytest.mark.parametrize("dtype", ["tf32", "fp32"])
def test_tf32_through_the_binding_is_tf32(in_standins: StandIns, dtype: str) -> None:
    assert in_standins(caveats_of, dtype) == []


@pytest.mark.parametrize("dtype", ["fp64", "fp32", "fp16", "bf16"])
def test_the_array_modules_own_matmul_is_right_on_the_same_operands(in_standins: StandIns, dtype: str) -> None:
    (check,) = in_standins(verified, dtype, CUPY)
    assert check.passed, check


def with_wrong_scales(dtype: str, factor: float) -> list[Check]:
    """Hand the library scales other than those that the check reckons with."""
    right = multiply._scales

    def wrong(xp: Any, of: Any, shape: Shape) -> Any:  # noqa: ANN401
        for_a, for_b = right(xp, of, shape) or pytest.fail("no scales")
        return (for_a * factor if for_a.dtype.kind == "f" else for_a + 8), for_b

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(multiply, "_scales", wrong)
        return verified(dtype)


@pytest.mark.parametrize("dtype", ["fp8", "nvfp4"])
def test_a_wrong_scale_is_found_out(in_standins: StandIns, dtype: str) -> None:
    assert not any(check.passed for check in in_standins(with_wrong_scales, dtype, 2.0))


def run_here(results: str, arguments: Sequence[str], steps: Sequence[Step] = ()) -> tuple[int, str, str]:
    """Run `chipbench run --backend cuda` on the stand-ins, scripted by `steps`, for milliseconds a cell."""
    one_gpu: Step = ("cuda_standin_gpu", "A stand-in GPU", "0000:1B:00.0", 132, 79 << 30)
    apply([("nvml_standin_reset",), ("cuda_standin_reset",), one_gpu, *steps])
    sensors = open_sensors(BUS_ID)
    assert sensors is not None
    backend = CudaBackend(HostTimed(BLACKWELL), Watcher(sensors, hz=50.0, wait=shortly), other_processes=0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cuda, "open_backend", lambda *_index: backend)
        patched.setattr("bench.run.planning.fitted", lambda *_args, **_more: TINY)
        for name in environment.FLAGGED_VARIABLES:
            patched.delenv(name, raising=False)
        patched.setattr(cuda, "_versions", lambda _runtime, found, **_more: {"driver": str(found.driver)})
        command = ["run", "--backend", "cuda", "--results-dir", results, *arguments]
        done = CliRunner().invoke(main, command)
    return done.exit_code, done.stdout, done.stderr


def shortly(_seconds: float) -> bool:
    """Read the sensors every fraction of a millisecond: a cell here takes a few of them."""
    sleep(0.0002)
    return False


def record(results: Path) -> tuple[Path, Lines]:
    (path,) = results.rglob("*.jsonl")
    return path, read_lines(path)


SMALL = ("--shape", "48x32x64")


@pytest.fixture(scope="module")
def made(in_standins: StandIns, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run over every format on the stand-ins, TF32 by CuPy (which needs a process with CuPy) left out."""
    results = tmp_path_factory.mktemp("made")
    code, out, err = in_standins(run_here, str(results), [*SMALL, "--library", "cublaslt"])
    assert code == 0, err
    return results, out, err


class TestRun:
    def test_every_format_is_measured_passes_and_is_saved(self, made: tuple[Path, str, str]) -> None:
        _, lines = record(made[0])
        labels = [one.cell.dtype_label for one in lines.measurements]
        assert labels == [
            "fp64", "fp32", "tf32", "fp16", "fp16_acc16", "bf16", "fp8", "fp8 fast", "int8", "nvfp4",
        ]  # fmt: skip
        assert all(one.passed for one in lines.measurements)
        assert lines.footer is not None

    def test_the_chip_is_identified_and_gives_the_folder(self, made: tuple[Path, str, str]) -> None:
        path, lines = record(made[0])
        assert lines.header.device.chip == "h100-sxm5-80gb"
        assert path.parent.name == "h100-sxm5-80gb"
        assert "= h100-sxm5-80gb" in made[1].splitlines()[0]

    def test_algorithms_are_searched_and_described(self, made: tuple[Path, str, str]) -> None:
        for one in record(made[0])[1].measurements:
            assert one.search is not None
            assert len(one.search.candidates) > 1
            chosen = one.search.candidates[one.search.chosen]
            assert {name: one.algorithm[name] for name in chosen} == chosen
            assert {"algo", "tile", "stages", "split_k", "cluster", "workspace_bytes"} <= set(one.algorithm)

    def test_sensors_and_cycles_stand_beside_the_times(self, made: tuple[Path, str, str]) -> None:
        watched = [one for one in record(made[0])[1].measurements if one.telemetry is not None]
        assert watched
        for one in watched:
            assert one.telemetry is not None
            assert one.telemetry.power_w is not None
            assert one.telemetry.power_w.median == 690.0
            assert one.samples.sm_clock_hz is not None
            assert one.samples.cycles_per_call is not None

    def test_the_record_replays_to_the_last_digit(self, made: tuple[Path, str, str]) -> None:
        path, _ = record(made[0])
        replayed = CliRunner().invoke(main, ["run", "--backend", "replay", "--from", str(path)])
        assert replayed.exit_code == 0, replayed.stderr
        assert replayed.stdout.splitlines()[1:] == made[1].splitlines()[1:]

    def test_the_record_names_no_board_and_no_place(self, made: tuple[Path, str, str]) -> None:
        content = record(made[0])[0].read_text()
        assert "GPU-0000" not in content
        assert BUS_ID not in content


class TestSensorsThatFail:
    def test_when_they_are_lost_in_the_middle_the_run_goes_on(self, in_standins: StandIns, tmp_path: Path) -> None:
        steps: list[Step] = [("nvml_standin_fail", "nvmlDeviceGetPowerUsage", 15, 2)]
        code, out, err = in_standins(run_here, str(tmp_path), [*SMALL, "--dtype", "bf16", "--dtype", "fp8"], steps)
        assert code == 0, err
        _, lines = record(tmp_path)
        assert all(one.passed for one in lines.measurements)
        last = lines.measurements[-1].telemetry
        assert last is not None
        assert "GPU is lost" in str(last.lost)
        assert "the sensors fell silent in" in " ".join(out.split())
        assert "fp8" in out

    def test_a_sensor_that_the_board_lacks_is_absent_and_the_others_are_there(
        self, in_standins: StandIns, tmp_path: Path
    ) -> None:
        steps: list[Step] = [("nvml_standin_fail", "nvmlDeviceGetTemperature", 3, 0)]
        steps += [("nvml_standin_fail", "nvmlDeviceGetTemperatureV", 3, 0)]
        code, _, err = in_standins(run_here, str(tmp_path), [*SMALL, "--dtype", "bf16"], steps)
        assert code == 0, err
        (one, *_) = (m for m in record(tmp_path)[1].measurements if m.telemetry is not None)
        assert one.telemetry is not None
        assert one.telemetry.temperature_c is None
        assert one.telemetry.power_w is not None
