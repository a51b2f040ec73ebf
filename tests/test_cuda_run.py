"""`chipbench run` on a simulated GPU: libraries, data and regimes as asked for, and every fault on the way."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.devices import cuda
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia.cublaslt import NoAlgorithm
from bench.devices.nvidia.gpu import Inventory
from bench.devices.nvidia.multiply import CUPY, Operands
from bench.errors import BackendUnavailable, CellFailed
from bench.measure.policy import Policy
from bench.records.record import read_lines
from bench.workloads.base import Cell
from tests.gpu_lab import SMALL, Lab
from tests.simulated_gpu import multiplied
from tests.test_cuda_backend import H100


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    return Lab(monkeypatch, tmp_path / "results")


class TestLibraries:
    def test_auto_takes_the_gpu_and_says_nothing_about_it(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "bf16")
        assert answer.code == 0, answer.err
        assert lab.lines().header.backend == "cuda"
        assert "Measuring the CPU" not in answer.err

    def test_both_are_measured_and_the_better_one_is_shown(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "fp32", "--dtype", "bf16")
        assert [(row[0], row[2]) for row in answer.rows] == [("fp32", "cupy.matmul"), ("bf16", "cublaslt")]
        assert len(lab.lines().measurements) == 4

    def test_both_shows_both(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "bf16", "--library", "both")
        assert [row[2] for row in answer.rows] == ["cublaslt", "cupy.matmul"]

    def test_one_library_measures_and_shows_that(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "bf16", "--library", "cupy.matmul")
        assert [row[2] for row in answer.rows] == ["cupy.matmul"]
        assert len(lab.lines().measurements) == 1

    def test_json_has_every_library_and_marks_the_better_one(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "fp32", "--format", "json")
        found = {one["library"]: one["best"] for one in json.loads(answer.out)["measurements"]}
        assert found == {"cublaslt": False, "cupy.matmul": True}

    def test_the_better_one_of_equal_cells_must_be_right(self, lab: Lab) -> None:
        """A faster library with a wrong product is not the better one."""

        def wrong_by_cupy(of: Cell, one: Operands) -> None:
            multiplied(of, one)
            if of.library == CUPY:
                one.d[0] = 0

        lab.multiply = wrong_by_cupy
        answer = lab.run(*SMALL, "--dtype", "fp32")
        assert [row[2] for row in answer.rows] == ["cublaslt"]
        assert "fp32 48×32×64 by cupy.matmul: wrong result" in answer.out
        assert answer.code == 0

    def test_a_result_that_the_host_limits_is_said_to_be_and_has_no_efficiency(self, lab: Lab) -> None:
        lab.enqueue_s = 2e-3
        answer = lab.run(*SMALL, "--dtype", "bf16", "--library", "cupy.matmul")
        (row,) = answer.rows
        assert row.count("host-limited") == 2
        assert "%" not in " ".join(row).split("host-limited", 1)[1]
        assert "takes the host" in answer.out
        document = json.loads(lab.run(*SMALL, "--dtype", "bf16", "--library", CUPY, "--format", "json").out)
        (one,) = document["measurements"]
        assert one["host_limited"] is True
        assert one["against"] == []

    def test_a_format_that_the_chip_lacks_says_so(self, lab: Lab) -> None:
        answer = lab.run("--dtype", "nvfp4")
        assert answer.code == 2
        assert "not on this chip: nvfp4 needs compute capability 10.0, and it has 9.0" in answer.err
        assert not lab.results.exists()


class TestDenominators:
    def test_the_rate_stands_against_the_sheet_and_against_the_clock_that_was_held(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "bf16", "--library", "cublaslt", "--format", "json")
        (one,) = json.loads(answer.out)["measurements"]
        rate = 2 * 48 * 32 * 64 / 1e-3
        (spec,) = [peak for peak in one["against"] if peak["own"]]
        assert spec["published"] == 989.4e12
        assert spec["share"] == pytest.approx(rate / 989.4e12)
        assert one["at_clock"]["peak"] == pytest.approx(132 * 4096 * 1.5e9)
        assert one["at_clock"]["share"] == pytest.approx(rate / (132 * 4096 * 1.5e9))

    def test_without_a_clock_there_is_no_such_column(self, lab: Lab) -> None:
        lab.gpu.clock_hz = None
        answer = lab.run(*SMALL, "--dtype", "bf16", "--format", "json")
        assert json.loads(answer.out)["measurements"][0]["at_clock"] is None
        assert "at the clock held" not in lab.run(*SMALL, "--dtype", "bf16").out.splitlines()[2]


class TestData:
    def test_all_kinds_stand_beside_each_other_with_the_ratio_to_normal(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "bf16", "--data", "all", "--library", "cublaslt")
        assert answer.code == 0, answer.err
        assert "÷ normal" in answer.out
        assert [row[2] for row in answer.rows] == ["normal", "zeros", "constant"]
        assert "1.111×" in answer.rows[1]
        assert "1.000×" in answer.rows[2]
        document = json.loads(lab.run(*SMALL, "--dtype", "bf16", "--data", "all", "--format", "json").out)
        ratios = {(one["data"], one["library"]): one["to_normal"] for one in document["measurements"]}
        assert ratios["normal", "cublaslt"] is None
        assert ratios["zeros", "cublaslt"] == pytest.approx(1 / 0.9)
        assert ratios["zeros", CUPY] == pytest.approx(1 / 0.9)

    def test_zeros_alone_are_labelled_wherever_they_are_shown(self, lab: Lab) -> None:
        answer = lab.run(*SMALL, "--dtype", "bf16", "--data", "zeros", "--library", "cublaslt")
        assert [row[2] for row in answer.rows] == ["zeros"]
        compared = CliRunner().invoke(main, ["compare", "latest", "h20", "--results-dir", str(lab.results)])
        assert compared.stdout.splitlines()[5].split()[:3] == ["bf16", "48×32×64", "zeros"]
        assert lab.measured("bf16").cell.data == "zeros"
        assert lab.measured("bf16").data["a"].zero_share == 1.0


class TestRegimes:
    def test_a_sustained_load_lasts_as_long_as_asked_and_is_saved_on_the_way(self, lab: Lab) -> None:
        lab.policy = Policy(
            block_s=0.05, warm_up_least_s=0.05, warm_up_most_s=0.2, cold_warm_up_most_s=0.2, settled_window_s=0.5
        )
        answer = lab.run(*SMALL, "--dtype", "bf16", "--library", "cublaslt", "--sustained", "25")
        assert answer.code == 0, answer.err
        one = lab.measured("bf16")
        assert one.stop == "duration"
        assert one.cell.regime == "sustained:25"
        seconds = sum(one.samples.seconds_per_call) * one.calls_per_block
        assert 25.0 <= seconds < 25.2
        (path,) = lab.results.rglob("*.jsonl")
        kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
        assert kinds == ["header", "samples", "samples", "measurement", "footer"]

    def test_thorough_measures_bursts_after_rest_too(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.workloads.gemm.SWEEP_SIZES", (64,))
        monkeypatch.setattr(CudaBackend, "defaults", cuda.CudaBackend.defaults._replace(sizes=(64,)))
        answer = lab.run("--dtype", "int8", "--thorough")
        assert answer.code == 0, answer.err
        assert [one.cell.label for one in lab.lines().measurements] == [
            "int8 64³", "int8 64³ (zeros)", "int8 64³ (constant)", "int8 64³ (burst)",
        ]  # fmt: skip


def failing_at(dtype: str, error: Exception) -> Callable[[Cell], None]:
    def check(cell: Cell) -> None:
        if cell.dtype_name == dtype:
            raise error

    return check


THREE = (*SMALL, "--dtype", "fp64", "--dtype", "bf16", "--dtype", "int8", "--library", "cublaslt")


class TestFaults:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (MemoryError("cudaErrorMemoryAllocation"), "out of memory"),
            (NoAlgorithm("cublasLt 13.1.0 has no algorithm for bf16"), "has no algorithm for bf16"),
        ],
    )
    def test_a_cell_that_cannot_be_measured_is_marked_and_the_run_goes_on(
        self, lab: Lab, error: Exception, said: str
    ) -> None:
        lab.on_prepare = failing_at("bf16", error)
        answer = lab.run(*THREE)
        assert answer.code == 0, answer.err
        assert [row[0] for row in answer.rows] == ["fp64", "bf16", "int8"]
        assert said in answer.out
        one = lab.measured("bf16")
        assert one.stop == "failed"
        assert said in str(one.failure)
        assert lab.measured("int8").passed

    @pytest.mark.parametrize("error", [NoAlgorithm("cublasLt has no algorithm"), MemoryError("no memory")])
    @pytest.mark.parametrize("more", [(), ("--sweep",)])
    def test_one_that_fails_while_the_size_is_chosen_fails_alone(
        self, lab: Lab, error: Exception, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before there is a record: the formats that can be measured still are."""
        monkeypatch.setattr(CudaBackend, "defaults", cuda.CudaBackend.defaults._replace(sizes=(64, 96)))
        monkeypatch.setattr("bench.workloads.gemm.SWEEP_SIZES", (64,))
        lab.on_prepare = failing_at("bf16", error)
        answer = lab.run(*more, "--dtype", "bf16", "--dtype", "int8", "--library", "cublaslt")
        assert answer.code == 0, answer.err
        assert lab.measured("bf16").stop == "failed"
        assert lab.measured("int8").passed

    def test_a_cell_whose_check_fails_is_kept_and_marked(self, lab: Lab) -> None:
        def wrong(of: Cell, one: Operands) -> None:
            multiplied(of, one)
            if of.dtype_name == "bf16":
                one.d[-1] = 0

        lab.multiply = wrong
        answer = lab.run(*THREE)
        assert answer.code == 0
        assert "bf16 48×32×64: wrong result" in answer.out
        one = lab.measured("bf16")
        assert one.samples.seconds_per_call
        assert not one.passed

    def test_when_no_cell_passes_the_exit_code_says_so(self, lab: Lab) -> None:
        lab.multiply = lambda _of, one: one.d.fill(0)
        answer = lab.run(*THREE)
        assert answer.code == 8
        assert "Traceback" not in answer.err

    def test_a_lost_device_ends_the_run_with_what_was_finished(self, lab: Lab) -> None:
        lab.on_prepare = failing_at("bf16", BackendUnavailable("the GPU does not answer any more (GPU is lost)"))
        answer = lab.run(*THREE)
        assert answer.code == 5
        assert "GPU is lost" in answer.err.splitlines()[-1]
        assert "Traceback" not in answer.err
        lines = lab.lines()
        assert [one.cell.dtype_name for one in lines.measurements] == ["fp64"]
        assert lines.footer is None
        assert "--resume" in answer.err

    def test_a_run_that_a_lost_device_ended_is_resumed(self, lab: Lab) -> None:
        lab.on_prepare = failing_at("bf16", BackendUnavailable("the GPU does not answer any more"))
        lab.run(*THREE)
        (path,) = lab.results.rglob("*.jsonl")
        lab.on_prepare = lambda _cell: None
        done = CliRunner().invoke(main, ["run", "--resume", str(path)])
        assert done.exit_code == 0, done.stderr
        lines = read_lines(path)
        assert [one.cell.dtype_name for one in lines.measurements] == ["fp64", "bf16", "int8"]
        assert (lines.resumed, lines.footer is not None) == (1, True)

    def test_a_device_that_is_lost_in_the_middle_of_a_cell(self, lab: Lab) -> None:
        calls: list[int] = []

        def dies(of: Cell, one: Operands) -> None:
            multiplied(of, one)
            calls.append(1)
            if of.dtype_name == "int8" and len(calls) > 300:
                lab.gpu.lost = True

        lab.multiply = dies
        calls.extend([1] * 300)
        answer = lab.run(*THREE)
        assert answer.code == 5
        assert [one.cell.dtype_name for one in lab.lines().measurements] == ["fp64", "bf16"]

    def test_another_power_limit_forbids_to_go_on(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        lab.on_prepare = failing_at("int8", BackendUnavailable("lost"))
        lab.run(*THREE)
        (path,) = lab.results.rglob("*.jsonl")
        changed = Inventory("580.65.06", 13000, (H100._replace(power_limit_w=500.0),))
        monkeypatch.setattr(cuda, "inventory", lambda: changed)
        done = CliRunner().invoke(main, ["run", "--resume", str(path)])
        assert done.exit_code == 2
        assert "power_limit_w was 700.0 and is 500.0" in done.stderr


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "[Errno 13] Permission denied: '/home/alice/.cupy/kernel_cache'",
            "[Errno 13] Permission denied: 'kernel_cache'",
        ),
        ("cannot open ~/secret/file.so: no", "cannot open file.so: no"),
        ("cublasLt 13.1.0 has no algorithm for fp8 16x16", "cublasLt 13.1.0 has no algorithm for fp8 16x16"),
        ("12 of 16 TFLOP/s at 3 B/s", "12 of 16 TFLOP/s at 3 B/s"),
    ],
)
def test_what_a_record_keeps_of_a_failure_names_no_users_folder(lab: Lab, text: str, kept: str) -> None:
    lab.on_prepare = failing_at("bf16", CellFailed(text))
    lab.run(*THREE)
    assert lab.measured("bf16").failure == kept


class TestSettings:
    def test_what_bends_the_run_comes_first_under_the_table(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changed = Inventory("580.65.06", 13000, (H100._replace(power_limit_w=500.0),))
        monkeypatch.setattr(cuda, "inventory", lambda: changed)
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        answer = lab.run(*SMALL, "--dtype", "bf16")
        notes = answer.out.split("\n\n")[2].splitlines()
        assert "power limit is 500 W" in notes[0]
        assert any("NVIDIA_TF32_OVERRIDE=0" in line for line in notes[:4])

    def test_a_chip_that_is_not_known_has_no_peak_of_its_own(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unknown = Inventory("580.65.06", 13000, (H100._replace(sm_count=131),))
        monkeypatch.setattr(cuda, "inventory", lambda: unknown)
        answer = lab.run(*SMALL, "--dtype", "bf16")
        assert "of its published peak" not in answer.out
        assert "which chip this is, is not known" in answer.out
        assert "131 SM" in " ".join(answer.out.split())
        assert "h20-96gb" in answer.out
        assert lab.lines().header.device.folder == "unknown-2330"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--sustained", "0"], "not in the range"),
        (["--sustained", "nan"], "nan"),
        (["--data", "random"], "'random' is not one of"),
        (["--library", "torch"], "'torch' is not one of"),
        (["--backend", "replay", "--from", "r.jsonl", "--sweep"], "leave out --sweep"),
        (["--backend", "replay", "--from", "r.jsonl", "--library", "cublaslt"], "leave out --library"),
        (["--resume", "r.jsonl", "--thorough", "--data", "all"], "leave out --data, --thorough"),
    ],
)
def test_bad_input_is_one_line(lab: Lab, arguments: Sequence[str], why: str) -> None:
    answer = lab.run(*arguments)
    assert answer.code == 2, answer.err
    assert len(answer.err.splitlines()) == 1
    assert why in answer.err
    assert not lab.results.exists()
