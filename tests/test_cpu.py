"""The CPU and replay backends: what they offer and why not more, what they tell and what they keep secret."""

import ast
import getpass
import platform
import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import bench.devices
from bench.devices import BACKENDS, cpu, environment, replay
from bench.errors import InvalidRequest
from bench.measure.policy import Policy
from bench.records.record import encode_line
from bench.run.session import make_header
from bench.units import DTYPES
from bench.workloads.base import Cell, Plan, Shape
from tests.support import SimulatedBackend, cell, script

SHAPES = [(512, 512, 512), (1024, 32, 1024), (32, 1024, 1024), (1024, 1024, 32), (1, 2000, 700), (2000, 1, 700)]


def as_shape(sizes: tuple[int, int, int]) -> Shape:
    m, n, k = sizes
    return Shape(m=m, n=n, k=k)


class TestOffer:
    def test_it_offers_what_a_blas_multiplies(self) -> None:
        backend = cpu.open_backend()
        assert [name for name in DTYPES if backend.refusal("matmul", name) is None] == ["fp64", "fp32"]

    @pytest.mark.parametrize(
        ("dtype", "reason"),
        [
            ("fp16", "no BLAS multiplies fp16"),
            ("bf16", "no BLAS multiplies bf16"),
            ("fp16_acc16", "no BLAS multiplies fp16_acc16"),
            ("int8", "wraps at 8 bits"),
            ("tf32", "GPU tensor cores"),
            ("fp8", "GPU tensor cores"),
            ("nvfp4", "GPU tensor cores"),
        ],
    )
    def test_each_refusal_has_its_own_reason(self, dtype: str, reason: str) -> None:
        refusal = cpu.open_backend().refusal("matmul", dtype)
        assert refusal is not None
        assert reason in refusal
        assert dtype in refusal

    def test_it_measures_no_other_operation(self) -> None:
        assert "not convolution" in str(cpu.open_backend().refusal("convolution", "fp32"))


class TestIdentity:
    SECRETS = ("secret-host", "secret-user", "/home/secret-user", "secret-machine-id")

    @pytest.fixture(autouse=True)
    def secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "node", lambda: "secret-host")
        monkeypatch.setattr(getpass, "getuser", lambda: "secret-user")
        monkeypatch.setattr(environment, "machine_id", lambda: "secret-machine-id")
        for name in ("USER", "LOGNAME", "HOSTNAME"):
            monkeypatch.setenv(name, "secret-user" if name != "HOSTNAME" else "secret-host")
        monkeypatch.setenv("HOME", "/home/secret-user")
        for name in environment.FLAGGED_VARIABLES:
            if name.endswith(("_PATH", "_FILE")):
                monkeypatch.setenv(name, "/home/secret-user/file")

    def line(self, results: Path, *, identify: bool) -> str:
        plan = Plan(workload="gemm", cells=(cell(),))
        header = make_header(cpu.open_backend(), plan, Policy(), tool="0.1.0", results=results, identify=identify)
        return encode_line(header).decode()

    def test_a_record_names_no_host_user_path_or_machine(self, tmp_path: Path) -> None:
        line = self.line(tmp_path, identify=False)
        assert not [secret for secret in (*self.SECRETS, str(tmp_path)) if secret in line]
        assert '"CUDA_INJECTION64_PATH":"set"' in line

    def test_only_identify_adds_the_host(self, tmp_path: Path) -> None:
        line = self.line(tmp_path, identify=True)
        assert [secret for secret in self.SECRETS if secret in line] == ["secret-host"]

    def test_another_machine_has_another_key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def key() -> str:
            header = make_header(
                cpu.open_backend(),
                Plan(workload="gemm", cells=(cell(),)),
                Policy(),
                tool="0.1.0",
                results=tmp_path,
                identify=False,
            )
            return str(header.device.key)

        here = key()
        assert key() == here
        monkeypatch.setattr(environment, "machine_id", lambda: "another-machine-id")
        assert key() != here

    def test_two_looks_agree_on_all_but_conditions(self) -> None:
        backend = cpu.open_backend()
        first, second = backend.environment(), backend.environment()
        assert (first.versions, first.settings, first.flagged) == (
            second.versions,
            second.settings,
            second.flagged,
        )
        assert first.versions["numpy"] == np.__version__
        assert first.versions["blas"] != "unknown"


class TestCaveats:
    def test_a_variable_that_steers_the_blas_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in environment.FLAGGED_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(environment, "busy_share", lambda: None)
        backend = cpu.open_backend()
        assert backend.caveats() == []
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        monkeypatch.setenv("CUPY_TF32", "1")  # no matter to a CPU
        (caveat,) = backend.caveats()
        assert (caveat.code, caveat.values) == ("variable", {"name": "OPENBLAS_CORETYPE", "value": "Haswell"})

    def test_a_busy_machine_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for share, codes in ((None, []), (0.0, []), (0.9, ["busy"])):
            monkeypatch.setattr(environment, "busy_share", lambda share=share: share)
            found = [caveat.code for caveat in cpu.open_backend().caveats() if caveat.code != "variable"]
            assert found == codes


class TestOperands:
    def test_the_same_seed_gives_the_same_operands_and_another_does_not(self) -> None:
        backend = cpu.open_backend()
        made = [backend.prepare(cell(), seed) for seed in (7, 7, 8)]
        first, second, third = (task for task in made if isinstance(task, cpu.CpuTask))
        assert np.array_equal(first._a, second._a)
        assert np.array_equal(first._b, second._b)
        assert not np.array_equal(first._a, third._a)
        assert not np.array_equal(first._a, first._b)

    def test_fp64_operands_are_drawn_in_fp64(self) -> None:
        """Rounded from FP32 they would have 29 zero bits each, which a multiplier can feel."""
        matrix = cpu.open_backend().prepare(cell(64, "fp64"), 7)._a
        assert matrix.dtype == np.float64
        assert np.mean(matrix == matrix.astype(np.float32)) < 0.01

    def test_no_part_of_an_operand_repeats(self) -> None:
        matrix = cpu.open_backend().prepare(cell(128), 7)._a
        assert len(np.unique(matrix)) > 0.99 * matrix.size

    def test_only_the_first_task_is_cold_and_a_probe_does_not_count(self) -> None:
        backend = cpu.open_backend()
        assert backend.prepare(cell(), 1, probe=True).cold
        assert backend.prepare(cell(), 1).cold
        assert not backend.prepare(cell(), 1).cold
        assert not backend.prepare(cell(), 1, probe=True).cold

    @pytest.mark.parametrize("sizes", SHAPES)
    @pytest.mark.parametrize("dtype", ["fp32", "fp64"])
    def test_what_it_says_it_needs_is_what_it_takes_at_most(self, sizes: tuple[int, int, int], dtype: str) -> None:
        backend, one = cpu.open_backend(), cell(as_shape(sizes), dtype)
        cpu.open_backend().prepare(cell(8), 1).verify()  # imports and caches
        tracemalloc.start()
        try:
            backend.prepare(one, 1).verify()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak <= backend.bytes_needed(one) + 100_000
        assert backend.bytes_needed(one) > one.bytes_moved

    def test_asking_for_the_impossible_allocates_nothing(self) -> None:
        assert cpu.open_backend().bytes_needed(cell(10**9, "fp64")) > 24 * 10**18


class TestBlock:
    def test_a_block_is_the_mean_of_as_many_calls_as_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        task = cpu.open_backend().prepare(cell(), 1)
        assert isinstance(task, cpu.CpuTask)
        clock, outputs = iter([100.0, 100.75]), []
        monkeypatch.setattr(cpu, "perf_counter", lambda: next(clock))
        monkeypatch.setattr(np, "matmul", lambda a, b, out: outputs.append(out))
        block = task.block(3)
        assert (block.calls, block.seconds_per_call, block.seconds) == (3, 0.25, 0.75)
        assert [out is task._d for out in outputs] == [True] * 3

    def test_a_cell_without_shape_or_type_is_no_cell_for_it(self) -> None:
        with pytest.raises(ValueError, match="does not offer"):
            cpu.CpuTask(Cell(operation="matmul", version=1), 1, cold=True)


class TestReplay:
    def test_it_offers_what_the_record_holds(self) -> None:
        backend = SimulatedBackend({cell(64, "fp64"): script()})
        assert backend.refusal("matmul", "fp64") is None
        assert backend.refusal("matmul", "fp32") == "the record to replay holds no matmul in fp32"
        assert backend.refusal("copy", "fp64") == "the record to replay holds no copy in fp64"

    def test_it_cannot_be_opened_without_a_record(self) -> None:
        with pytest.raises(InvalidRequest, match="--from FILE"):
            replay.open_backend()

    def test_what_no_check_was_made_of_does_not_pass(self) -> None:
        assert not replay.ReplayTask(replay.Script([replay.Call(1.0)])).verify().passed


def test_every_backend_file_is_in_the_dictionary_and_under_its_own_name() -> None:
    folder = Path(bench.devices.__file__).parent
    files = {
        path.stem
        for path in folder.glob("*.py")
        if path.stem != "__init__"
        and any(
            isinstance(node, ast.FunctionDef) and node.name == "open_backend"
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    }
    assert dict(BACKENDS) == {name: f"bench.devices.{name}" for name in files}
    for module in BACKENDS.values():
        assert callable(import_module(module).open_backend)
