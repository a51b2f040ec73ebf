"""Workloads beside squares: the cells each plans, what it leaves out and says of it, what it refuses."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import load_results
from bench.devices import environment
from bench.devices.cpu import CpuBackend, open_backend
from bench.devices.replay import ReplayTask
from bench.errors import InvalidRequest
from bench.measure.policy import GPU_OVERHEAD_S, Policy
from bench.published.models import Model, read_models
from bench.published.source import shipped_specs
from bench.records.record import Record, read_record
from bench.run import planning
from bench.run.planning import ALL_DATA, Resolved, Wish, resolve
from bench.run.sizing import Sizer
from bench.workloads import gemm, llm, skinny
from bench.workloads.base import Cell, Shape
from tests.command import chipbench
from tests.gpu_lab import Lab
from tests.support import STEADY, TINY, script

RUN = ("run", "--backend", "cpu", "--workload")
STREAM = (*RUN, "stream", "--elements", "65536")
LLAMA = (*RUN, "llm", "--model", "llama-3-70b")
THIN = Shape(m=5, n=24, k=16)
LARGE = Shape(m=1, n=30_000, k=30_000)
Asked = list[tuple[int, float, dict[str, float]]]  # cells, seconds, and what else a policy was fitted to
FLOP_PER_S = 1e12  # of the device that the probes are told to have found


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for milliseconds, in a folder of our own, with memory for anything and probes that do not run."""
    monkeypatch.setattr(planning, "fitted", lambda *_args, **_more: TINY)
    monkeypatch.setattr(environment, "busy_share", lambda: None)
    monkeypatch.setattr(environment, "bytes_free", lambda: 10**12)
    monkeypatch.setattr(Sizer, "seconds", probed)
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


def probed(_sizer: Sizer, _dtype: str, _library: str, shape: Shape) -> float:
    return 2 * shape.m * shape.n * shape.k / FLOP_PER_S


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Let the CPU answer from a script, 1 ms a call, and return the cells that were prepared."""
    prepared: list[Cell] = []

    def prepare(_backend: CpuBackend, cell: Cell, _seed: int, **_more: object) -> ReplayTask:
        prepared.append(cell)
        return ReplayTask(script(STEADY))

    monkeypatch.setattr(CpuBackend, "prepare", prepare)
    return prepared


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """Return a machine with one simulated H100."""
    return Lab(monkeypatch, tmp_path / "results")


def model(name: str) -> Model:
    return read_models([shipped_specs()]).find(name)


def planned(**wish: Any) -> Resolved:  # noqa: ANN401
    """Return the plan for a wish on the CPU."""
    return resolve(open_backend(), Wish(**wish))


def record() -> Record:
    """Return the only record that was saved."""
    (path,) = Path("results").rglob("*.jsonl")
    return read_record(path)


def shapes(cells: Sequence[Cell]) -> list[Shape]:
    return [cell.shape for cell in cells if cell.shape is not None]


class TestStream:
    def test_two_cells_are_measured_in_bytes_per_second_and_kept(self) -> None:
        answer = chipbench(*STREAM, "--format", "json")
        assert answer.code == 0
        document = json.loads(answer.out)
        assert (document["workload"], document["model"]) == ("stream", None)
        found = document["measurements"]
        assert [(one["operation"], one["elements"]) for one in found] == [("copy", 65536), ("triad", 65536)]
        kept = record()
        assert kept.complete
        assert (kept.header.plan.workload, kept.header.plan.model) == ("stream", None)
        for one, reading in zip(found, kept.readings, strict=True):
            assert (one["unit"], one["passed"]) == ("byte_per_s", True)
            assert reading.summary is not None
            assert one["rate"] == reading.cell.bytes_moved / reading.summary.median

    def test_a_loaded_record_has_its_elements_bytes_and_unit(self) -> None:
        chipbench(*STREAM)
        frame = load_results("results")
        assert {*frame["unit"]} == {"byte_per_s"}
        assert [*frame["bytes_moved"]] == [8 * 65536, 12 * 65536]
        assert [*frame["elements"]] == [65536, 65536]

    def test_the_table_says_bytes_per_second_and_no_operations(self, scripted: list[Cell]) -> None:
        answer = chipbench(*RUN, "stream", "--elements", "1e6")
        assert answer.code == 0
        assert "8.000 GB/s" in answer.out  # 8 MB in 1 ms
        assert "12.00 GB/s" in answer.out
        assert "FLOP" not in answer.out
        text = " ".join(answer.out.split())
        assert "Held against published memory bandwidths." in text
        assert "bytes read and bytes written both count: 8 a number for copy, 12 for triad" in text
        assert "4.00 MB" in answer.out

    def test_a_cpu_has_no_share_of_a_peak_of_its_own(self, scripted: list[Cell]) -> None:
        for one in json.loads(chipbench(*STREAM, "--format", "json").out)["measurements"]:
            assert [against["own"] for against in one["against"]] == [False, False]
            assert {against["figure"] for against in one["against"]} == {"memory_bandwidth"}
            assert one["at_clock"] is None

    def test_without_elements_the_backends_own_are_taken(self) -> None:
        (elements,) = {cell.elements for cell in planned(workload="stream").plan.cells}
        assert elements == CpuBackend.defaults.elements

    def test_every_kind_of_data_and_a_sustained_load_are_cells_of_their_own(self) -> None:
        cells = planned(workload="stream", elements=9, data=ALL_DATA, sustained_s=30.0).plan.cells
        wanted = [(operation, data) for operation in ("copy", "triad") for data in ALL_DATA]
        assert [(cell.operation, cell.data) for cell in cells] == wanted
        assert {cell.regime for cell in cells} == {"sustained:30"}

    def test_a_gpus_copy_is_by_kernel_and_driver_and_its_triad_by_kernel(self, lab: Lab) -> None:
        wish = Wish(workload="stream", elements=1024)
        cells = resolve(lab.backend(), wish).plan.cells
        both = [("copy", "kernel"), ("copy", "memcpy"), ("triad", "kernel")]
        assert [(cell.operation, cell.library) for cell in cells] == both
        cells = resolve(lab.backend(), wish._replace(quick=True)).plan.cells
        assert [(cell.operation, cell.library) for cell in cells] == [both[0], both[2]]

    def test_an_interrupted_record_is_resumed_and_a_whole_one_replayed(self) -> None:
        assert chipbench(*STREAM).code == 0
        path = record().path
        header, copied, *_ = path.read_text().splitlines(keepends=True)
        path.write_text(header + copied)
        resumed = chipbench("run", "--resume", path, "--format", "json")
        assert [one["operation"] for one in json.loads(resumed.out)["measurements"]] == ["copy", "triad"]
        replayed = chipbench("run", "--backend", "replay", "--from", path, "--format", "json")
        rates = [[one["rate"] for one in json.loads(text.out)["measurements"]] for text in (resumed, replayed)]
        assert rates[0] == rates[1]


class TestSkinny:
    def test_every_number_of_rows_is_measured_with_the_shapes_n_and_k(self, scripted: list[Cell]) -> None:
        answer = chipbench(*RUN, "skinny", "--shape", "5x24x16", "--format", "json")
        assert answer.code == 0
        found = json.loads(answer.out)["measurements"]
        assert [(one["m"], one["n"], one["k"]) for one in found] == [(rows, 24, 16) for rows in skinny.ROWS]
        assert {(one["dtype"], one["unit"]) for one in found} == {("fp32", "flop_per_s")}
        assert record().header.plan.workload == "skinny"

    def test_a_call_of_more_than_a_second_is_left_out_with_its_seconds(self, scripted: list[Cell]) -> None:
        answer = chipbench(*RUN, "skinny", "--shape", "1x30000x30000", "--format", "json")
        assert [one["m"] for one in json.loads(answer.out)["measurements"]] == [*skinny.ROWS[:10]]
        out = [line for line in answer.err.splitlines() if " is left out of the products of few rows: " in line]
        assert [line.split()[1] for line in out] == [f"{rows}×30000×30000" for rows in skinny.ROWS[10:]]
        assert out[0].endswith(": a call would take 1.8 s")

    def test_what_does_not_fit_is_left_out_as_such(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "bytes_free", lambda: 10**8)
        plan, _, notes = planned(workload="skinny", shapes=[gemm.square(2048)])
        assert [shape.m for shape in shapes(plan.cells)] == [*skinny.ROWS[:12]]
        assert len(notes) == 2
        assert notes[0] == "fp32 4096×2048×2048 is left out of the products of few rows: it does not fit"

    def test_without_a_shape_n_and_k_are_those_of_the_default_square(self) -> None:
        found = shapes(planned(workload="skinny").plan.cells)
        assert found == skinny.shapes(2048, 2048)  # 17 ms at the rate that is simulated; 4096³ takes 137

    @pytest.mark.parametrize(("dtypes", "measured"), [((), {"fp32"}), (("fp64", "fp32"), {"fp64", "fp32"})])
    def test_one_format_is_measured_or_those_asked_for(self, dtypes: tuple[str, ...], measured: set[str]) -> None:
        cells = planned(workload="skinny", dtypes=dtypes, shapes=[THIN]).plan.cells
        assert {cell.dtype_name for cell in cells} == measured
        assert len(cells) == len(measured) * len(skinny.ROWS)

    def test_on_a_gpu_it_is_bf16(self, lab: Lab) -> None:
        cells = resolve(lab.backend(), Wish(workload="skinny", shapes=[THIN])).plan.cells
        assert {cell.dtype_name for cell in cells} == {"bf16"}


class TestLlm:
    def test_a_models_products_are_measured_in_fp32_where_bf16_is_not_multiplied(
        self, scripted: list[Cell], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Sizer, "seconds", lambda *_args: 1e-3)
        answer = chipbench(*LLAMA)
        assert answer.code == 0
        plan = record().header.plan
        assert (plan.workload, plan.model) == ("llm", "llama-3-70b")
        assert {cell.dtype_name for cell in plan.cells} == {"fp32"}
        assert shapes(plan.cells) == llm.shapes(model("llama-3-70b"), "bf16")
        notes = [line for line in answer.err.splitlines() if not line.startswith(("next", "saved", "took"))]
        assert notes[0].startswith("bf16 is not multiplied here, so fp32 stands for it: no BLAS multiplies bf16")
        assert notes[-1] == "the weights of Llama 3 70B take 141 GB in bf16"
        assert "4096×57344×8192" in answer.out

    def test_the_order_is_that_of_the_steps_and_a_prompts_head_computes_one_row(self) -> None:
        found = llm.shapes(model("llama-3-70b"), "bf16")
        rows = [shape.m for shape in found]
        assert rows == sorted(rows)
        assert {*rows} == {1, 8, 64, 256, 4096}
        assert [shape.m for shape in found if shape.n == 128_256] == [1, 8, 64, 256]

    def test_what_would_take_too_long_is_left_out_of_the_model_by_name(self) -> None:
        plan, _, notes = planned(workload="llm", model=model("llama-3-70b"))
        left_out = [note for note in notes if " is left out of Llama 3 70B: a call would take " in note]
        assert "fp32 4096×57344×8192 is left out of Llama 3 70B: a call would take 3.8 s" in left_out
        assert len(left_out) + len(plan.cells) == len(llm.shapes(model("llama-3-70b"), "bf16"))
        assert all(probed(Sizer(open_backend()), "", "", shape) <= 1 for shape in shapes(plan.cells))

    def test_a_model_of_which_nothing_fits_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "bytes_free", lambda: 10**7)
        answer = chipbench(*LLAMA)
        assert answer.code == 2
        assert "is left out of Llama 3 70B: " in answer.error
        assert answer.error.endswith("; take a smaller model")

    def test_a_format_asked_for_stands_for_the_models_own_without_a_note(self) -> None:
        plan, _, notes = planned(workload="llm", model=model("llama-3-70b"), dtypes=["fp64"])
        assert {cell.dtype_name for cell in plan.cells} == {"fp64"}
        assert not [note for note in notes if "stands for" in note]

    def test_another_name_of_a_model_is_kept_as_its_id(self, scripted: list[Cell]) -> None:
        assert chipbench(*RUN, "llm", "--model", "DeepSeek-V3").code == 0
        assert record().header.plan.model == "deepseek-r1"
        path = next(Path("results").rglob("*.jsonl"))
        replayed = chipbench("run", "--backend", "replay", "--from", path, "--format", "json")
        assert json.loads(replayed.out)["model"] == "deepseek-r1"

    @pytest.mark.parametrize(
        ("name", "weights", "devices"), [("llama-3-70b", "141 GB in bf16", 2), ("deepseek-r1", "671 GB in fp8", 8)]
    )
    def test_how_many_devices_hold_them_is_told(self, name: str, weights: str, devices: int, lab: Lab) -> None:
        plan, _, notes = resolve(lab.backend(), Wish(workload="llm", model=model(name)))
        assert (
            f"take {weights}: {devices} devices like this one hold them, one does not (85.5 GB each)" in notes[-1]
        )
        assert plan.model == name
        assert {cell.dtype_label for cell in plan.cells} == {weights.rsplit(maxsplit=1)[-1]}  # its own

    def test_weights_that_fit_one_device_are_said_to(self, lab: Lab) -> None:
        small = model("llama-3-70b")
        small = small._replace(matmuls=small.matmuls[:1])
        assert "they fit this device" in resolve(lab.backend(), Wish(workload="llm", model=small)).notes[-1]


class TestStreamSize:
    def test_the_default_gives_way_to_what_fits_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = open_backend().defaults.elements
        plan, _, _ = planned(workload="stream")
        assert {cell.elements for cell in plan.cells} == {usual}
        monkeypatch.setattr(environment, "bytes_free", lambda: 200 << 20)
        smaller, _, notes = planned(workload="stream")
        (elements,) = {cell.elements for cell in smaller.cells}
        assert elements is not None
        assert usual % elements == 0
        assert 12 * elements < 200 << 20 < 12 * 2 * elements + (1 << 27)
        assert notes == (
            f"arrays of {smaller.cells[0].size_text}, since larger ones do not fit; a cache may hold some",
        )

    def test_what_was_asked_for_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "bytes_free", lambda: 200 << 20)
        with pytest.raises(InvalidRequest, match="take a smaller one"):
            planned(workload="stream", elements=1 << 28)


class TestFp8:
    def test_only_squares_are_summed_both_ways(self, lab: Lab) -> None:
        def sums(**wish: Any) -> set[bool | None]:  # noqa: ANN401
            found = resolve(lab.backend(), Wish(dtypes=["fp8"], **wish)).plan.cells
            return {cell.fast_accumulate for cell in found}

        assert sums(shapes=[gemm.square(256)]) == {False, True}
        assert sums(workload="skinny", shapes=[gemm.square(256)]) == {False}
        assert sums(workload="llm", model=model("llama-3-70b")) == {False}


class TestBudget:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> Asked:
        asked: Asked = []

        def spy(cells: int, budget_s: float, **more: float) -> Policy:
            asked.append((cells, budget_s, more))
            return Policy()

        monkeypatch.setattr(planning, "fitted", spy)
        return asked

    @pytest.mark.parametrize(
        ("wish", "cells"),
        [
            (Wish(workload="stream", elements=9), 2),
            (Wish(workload="skinny", shapes=[THIN]), 14),
            (Wish(workload="skinny", shapes=[LARGE]), 10),
            (Wish(workload="skinny", shapes=[THIN], data=ALL_DATA), 42),
        ],
    )
    @pytest.mark.parametrize(("quick", "each_s"), [(False, 4.0), (True, 2.0)])
    def test_each_of_very_many_cells_has_seconds_of_its_own(
        self, wish: Wish, cells: int, quick: bool, each_s: float, asked: Asked
    ) -> None:
        resolve(open_backend(), wish._replace(quick=quick))
        assert asked == [(cells, each_s * cells, {"overhead_s": 0.0})]

    def test_a_gpus_cells_have_its_overhead(self, lab: Lab, asked: Asked) -> None:
        resolve(lab.backend(), Wish(workload="stream", elements=1024))
        assert asked == [(3, 12.0, {"overhead_s": GPU_OVERHEAD_S})]


class TestBadInput:
    @pytest.mark.parametrize(
        ("args", "why"),
        [
            (["llm"], "workload llm needs --model, such as --model deepseek-r1"),
            (["gemm", "--model", "llama-3-70b"], "workload gemm does not take that; leave out --model"),
            (["gemm", "--elements", "64"], "workload gemm does not take that; leave out --elements"),
            (["llm", "--model", "llama-3-70b", "--elements", "64"], "leave out --elements"),
            (["llm", "--model", "llama-3-70b", "--shape", "1x2x3"], "leave out --shape"),
            (["llm", "--model", "llama-3-70b", "--dtype", "bf16"], "bf16 is not measured on backend cpu"),
            (["stream", "--size", "64"], "workload stream does not take that; leave out --size"),
            (["stream", "--dtype", "fp64", "--thorough"], "leave out --dtype, --thorough"),
            (["skinny", "--sweep"], "workload skinny does not take that; leave out --sweep"),
            (["skinny", "--shape", "1x2x3", "--shape", "1x2x4"], "takes n and k from one --shape"),
            (["stream", "--elements", "0"], "'--elements': 0 is not a whole number above 0"),
            (["stream", "--elements", "1.5"], "1.5 is not a whole number"),
            (["stream", "--library", "cublaslt"], "copies with numpy only, not cublaslt"),
            (["strem"], "'strem' is not one of"),
        ],
    )
    def test_it_is_a_usage_error_before_anything_is_made(self, args: list[str], why: str) -> None:
        answer = chipbench(*RUN, *args)
        assert answer.code == 2
        assert why in answer.error
        assert not Path("results").exists()

    @pytest.mark.parametrize(
        ("name", "advice"), [("lama-3-70b", "did you mean llama-3-70b?"), ("nothing-near", "known: deepseek-r1, ")]
    )
    def test_a_model_that_is_not_there_is_answered_with_those_that_are(self, name: str, advice: str) -> None:
        answer = chipbench(*RUN, "llm", "--model", name)
        assert answer.code == 2
        assert f"no model '{name}' here; {advice}" in answer.error

    def test_arrays_beyond_the_memory_are_refused_before_they_are_allocated(self, scripted: list[Cell]) -> None:
        answer = chipbench(*RUN, "stream", "--elements", "1e12")
        assert answer.code == 2
        assert "copy 4.00 TB needs 8.00 TB of memory and 1.00 TB are free here" in answer.error
        assert not scripted

    @pytest.mark.parametrize(
        "option", [("--workload", "stream"), ("--elements", "64"), ("--model", "deepseek-r1")]
    )
    def test_a_resumed_record_has_its_own_plan(self, option: tuple[str, str]) -> None:
        answer = chipbench("run", "--resume", "r.jsonl", *option)
        assert answer.code == 2
        assert f"--resume takes its plan from the record; leave out {option[0]}" in answer.error

    def test_a_model_is_needed_where_no_command_line_asks(self) -> None:
        with pytest.raises(InvalidRequest, match="workload llm needs --model"):
            planned(workload="llm")
