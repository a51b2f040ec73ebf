"""Details of what is reported: which rates make a ratio, what a table leaves out, and the notes under it."""

from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from bench.analysis.compare import Against, Comparison, Row, Side, compare
from bench.analysis.estimates import (
    Estimate,
    Ratio,
    published_peak,
)
from bench.analysis.sides import measured_side, side_of_chip
from bench.cli.parameters import Seconds
from bench.cli.run import _next_commands
from bench.devices.base import Caveat, Spread, Telemetry
from bench.errors import RecordError
from bench.measure.measurement import Measurement
from bench.records.record import read_lines, reduce
from bench.report.columns import cell_columns, cell_texts, peak_text
from bench.report.compared import compare_view
from bench.report.measured import Run, run_view
from bench.stats import Interval
from bench.units import DTYPES
from bench.workloads.base import Cell, Plan
from tests import make_simulated
from tests.support import FAILED, header, measurement, write_record
from tests.support import cell as cpu_cell
from tests.test_gpu_table import CATALOGUE, H20, H100

LINES = read_lines(make_simulated.PATH)
BF16, BY_CUPY = (m for m in LINES.measurements if m.cell.dtype_name == "bf16")
LAUNCH_BOUND = Caveat(code="launch_bound", values={"enqueue_s": 2e-3, "call_s": 2e-3})


def changed(of: Measurement, **fields: Any) -> Measurement:  # noqa: ANN401
    return msgspec.structs.replace(of, **fields)


def replaced(of: Cell, **fields: Any) -> Cell:  # noqa: ANN401
    return msgspec.structs.replace(of, **fields)


def shown(*processes: list[Measurement], best_only: bool = True, **fields: Any) -> Any:  # noqa: ANN401
    cells = dict.fromkeys(one.cell for measurements in processes for one in measurements)
    head = msgspec.structs.replace(LINES.header, plan=Plan(workload="gemm", cells=tuple(cells)), **fields)
    readings = [[reduce(one) for one in measurements] for measurements in processes]
    return run_view(Run(head, readings, [], 1.0, interrupted=False, best_only=best_only), H100, [H20, H100])


def column(view: Any, head: str) -> list[str]:  # noqa: ANN401
    index = [one.head for one in view.columns].index(head)
    return [row[index] for row in view.rows]


def rate(per_s: float, spread: float | None = 0.1, **more: Any) -> Estimate:  # noqa: ANN401
    interval = None if spread is None else Interval(per_s * (1 - spread), per_s * (1 + spread))
    return Estimate(per_s, interval, **more)


def peak() -> Estimate:
    found = published_peak(H100, DTYPES["bf16"].figures)
    assert found is not None
    return found


def slowed(of: Measurement, factor: float) -> Measurement:
    times = tuple(factor * seconds for seconds in of.samples.seconds_per_call)
    return changed(of, samples=msgspec.structs.replace(of.samples, seconds_per_call=times))


def first_samples(of: Measurement, count: int) -> dict[str, tuple[float, ...]]:
    return {name: values[:count] for name, values in of.samples.columns().items()}


OTHER = replaced(BF16.cell, library="cupy.matmul")


def side(label: str, rates: dict[Cell, Estimate], **more: Any) -> Side:  # noqa: ANN401
    return Side(label, "measured", f"Device {label}", rates, device_kind="gpu", **more)


class TestCompared:
    def test_what_the_host_limited_is_never_held_against_a_peak_but_against_a_measured_rate(self) -> None:
        limited = side("b", {BF16.cell: rate(4e14, caveats=frozenset({"launch_bound"})), OTHER: rate(4e14)})
        for sides in ([side_of_chip(H100), limited], [limited, side_of_chip(H100)]):
            found = compare(sides)
            assert [row.cell for row in found.rows] == [BF16.cell, OTHER]
            (to_peak,) = found.rows[0].others
            assert (to_peak.ratio, to_peak.efficiency) == (None, None)
            assert "host-limited" in " ".join(compare_view(found).rows[0])
        (row,) = compare([side("a", {BF16.cell: rate(2e14)}), limited]).rows
        assert row.others[0].ratio is not None
        assert row.others[0].ratio.value == 2.0

    def test_a_run_that_the_host_limited_throughout_is_shown_and_not_said_to_have_no_cell(self) -> None:
        limited = side("b", {BF16.cell: rate(4e14, caveats=frozenset({"launch_bound"}))})
        for sides in ([side_of_chip(H100), limited], [limited, side_of_chip(H100)]):
            view = compare_view(compare(sides))
            assert "host-limited" in " ".join(view.rows[0])

    @pytest.mark.parametrize("peak_first", [True, False])
    def test_a_measured_rate_is_held_against_a_peak_as_a_share_of_it(self, *, peak_first: bool) -> None:
        sides = [side_of_chip(H100), side("b", {BF16.cell: rate(4e14)})]
        (row,) = compare(sides if peak_first else sides[::-1]).rows
        (found,) = row.others
        assert found.ratio is not None
        assert found.efficiency is not None
        share = 4e14 / peak().rate
        assert found.ratio.value == pytest.approx(share if peak_first else 1 / share)
        assert found.efficiency.at_spec == pytest.approx(share)
        assert found.finding is None

    def test_its_columns_are_rates_and_ratios_to_the_first_with_their_intervals(self) -> None:
        sides = [side("a", {BF16.cell: rate(2e14)}), side("b", {BF16.cell: rate(3e14, None)}), side_of_chip(H100)]
        view = compare_view(compare(sides))
        assert [one.head for one in view.columns[-5:]] == [
            "a (measured here)", "b (measured here)", "÷ a", "verdict", "a of h100-sxm5-80gb (published peak)",
        ]  # fmt: skip
        assert view.title == "a against b, h100-sxm5-80gb"
        *_, first, second, no_interval, verdict, of_peak = view.rows[0]
        assert (first, second) == ("200.0 TFLOP/s ±10 %", "300.0 TFLOP/s")
        assert (no_interval, verdict) == ("1.500×", "can't tell: no interval")
        assert of_peak == "20.2 % of 989.4 TFLOPS"
        both = compare_view(compare([sides[0], side("b", {BF16.cell: rate(3e14)})]))
        assert both.rows[0][-2].startswith("1.500× (")

    def test_beside_a_peak_that_stands_first_rates_are_shares_of_it(self) -> None:
        view = compare_view(compare([side_of_chip(H100), side("b", {BF16.cell: rate(4e14)})]))
        assert [one.head for one in view.columns[-3:]] == [
            "h100-sxm5-80gb (published peak)", "b (measured here)", "of h100-sxm5-80gb",
        ]  # fmt: skip
        assert view.rows[0][-3:] == ["989.4 TFLOPS", "400.0 TFLOP/s ±10 %", "40.4 %"]

    def test_a_side_without_the_cell_has_neither_rate_nor_ratio_nor_verdict(self) -> None:
        both = {BF16.cell: rate(1e14), OTHER: rate(2e14)}
        sides = [side("a", both), side("b", both), side("c", {OTHER: rate(3e14)})]
        view = compare_view(compare(sides))
        assert view.rows[0][-3:] == ["", "", ""]
        assert view.rows[1][-3] == "300.0 TFLOP/s ±10 %"
        assert view.rows[1][-2].startswith("1.500× (")
        assert [record["side"] for record in view.records] == ["a", "b", "a", "b", "c"]

    def test_json_and_csv_hold_the_ratio_with_its_ends_or_none(self) -> None:
        sides = [side("a", {BF16.cell: rate(2e14)}), side("b", {BF16.cell: rate(3e14)}), side_of_chip(H100)]
        view = compare_view(compare(sides))
        (row,) = view.document["rows"]
        assert (row["shape"], row["unit"]) == ([8192, 8192, 8192], "flop_per_s")
        first, second, third = row["sides"]
        assert (first["ratio"], first["figure"], third["figure"]) == (None, None, "bf16")
        assert second["ratio"] == pytest.approx(1.5)
        assert second["ratio_lo"] < second["ratio"] < second["ratio_hi"]
        assert third["ratio"] == pytest.approx(1 / third["of_peak"])
        assert (third["verdict"], first["verdict"]) == (None, None)
        assert view.records[1]["ratio_lo"] == second["ratio_lo"]

    def test_a_cell_without_a_shape_has_none(self) -> None:
        copy = Cell(operation="copy", version=1, input="fp32", elements=1 << 20)
        sides = (side("a", {copy: rate(1e9)}), side("b", {copy: rate(2e9, None)}))
        row = Row(copy, rate(1e9), (Against(rate(2e9, None), Ratio(2.0, None)),))
        view = compare_view(Comparison(sides, ((),), (row,)))
        (found,) = view.document["rows"]
        assert (found["shape"], found["unit"], found["sides"][1]["ratio_hi"]) == (None, "byte_per_s", None)
        assert "1.000 GB/s ±10 %" in view.rows[0]

    def test_notes_name_each_side_what_is_left_out_and_what_failed(self) -> None:
        one = side("a", {BF16.cell: rate(1e14), OTHER: rate(1e14)}, failed=(cpu_cell(96),))
        notes = compare_view(compare([one, side("b", {BF16.cell: rate(1e14)})])).notes
        assert notes[0] == "a: measured here, Device a"
        assert "left out of a, as no other side has them: bf16 8192³ (library cupy.matmul)" in notes
        assert "a: failed their check in some process, and are not compared: fp32 96³ by numpy.matmul" in notes
        assert not [note for note in notes if note.startswith("published ")]
        published = compare_view(compare([one, side_of_chip(H100)])).notes
        assert [note for note in published if note.startswith("published peaks are ")]
        assert not [note for note in published if "left out" in note]

    def test_what_is_left_out_is_told_from_a_cell_of_the_same_label_by_all_that_differs(self) -> None:
        hot = replaced(BF16.cell, library="cupy.matmul", l2="hot")
        alone = cpu_cell(96)
        a = side("a", {BF16.cell: rate(1e14), hot: rate(1e14), alone: rate(1e14)})
        b = side("b", {BF16.cell: rate(1e14), replaced(OTHER, data="zeros"): rate(1e14)})
        notes = compare_view(compare([a, b])).notes
        assert (
            "left out of a, as no other side has them: bf16 8192³ (library cupy.matmul, l2 hot), fp32 96³" in notes
        )
        assert "left out of b, as a has no rate of them: bf16 8192³ (zeros)" in notes, (
            "which says itself what differs"
        )

    @pytest.mark.parametrize(("count", "more"), [(1, ""), (12, ""), (13, " and 1 more"), (40, " and 28 more")])
    def test_of_what_nobody_else_has_twelve_labels_are_named(self, count: int, more: str) -> None:
        many = {cpu_cell(size): rate(1e14) for size in range(1, count + 1)}
        a, b = side("a", {BF16.cell: rate(1e14), **many}), side("b", {BF16.cell: rate(1e14)})
        listed = ", ".join(f"fp32 {size}³" for size in range(1, min(count, 12) + 1))
        assert f"left out of a, as no other side has them: {listed}{more}" in compare_view(compare([a, b])).notes

    def test_of_those_that_failed_twelve_are_named_too(self) -> None:
        failed = tuple(cpu_cell(size) for size in range(1, 15))
        a = side("a", {BF16.cell: rate(1e14)}, failed=failed)
        b = side("b", {BF16.cell: rate(1e14)})
        (said,) = [note for note in compare_view(compare([a, b])).notes if note.startswith("a: failed")]
        assert said.endswith("fp32 11³ by numpy.matmul, fp32 12³ by numpy.matmul and 2 more")

    def test_without_a_common_cell_cells_of_one_label_are_told_apart(self) -> None:
        sides = [side("a", {BF16.cell: rate(1.0)}), side("b", {OTHER: rate(1.0)})]
        with pytest.raises(RecordError) as raised:
            compare(sides)
        assert str(raised.value) == (
            "no cell that a and another have: a has bf16 8192³ (library cublaslt); "
            "b has bf16 8192³ (library cupy.matmul)"
        )

    def test_without_a_common_cell_a_long_list_is_cut(self) -> None:
        many = {cpu_cell(size): rate(1.0) for size in range(1, 31)}
        with pytest.raises(RecordError, match=r"fp32 11³, fp32 12³ and 18 more; b has bf16 8192³$"):
            compare([side("a", many), side("b", {BF16.cell: rate(1.0)})])

    def test_without_a_common_cell_it_is_said_what_each_has(self) -> None:
        sides = [side("a", {BF16.cell: rate(1.0)}), side("b", {})]
        with pytest.raises(RecordError, match="a has bf16 8192³; b has no cell that passed its check"):
            compare(sides)


def written(results: Path, ident: str, **fields: Any) -> None:  # noqa: ANN401
    head = header([cpu_cell()], ident=ident)
    device = msgspec.structs.replace(head.device, **{k: v for k, v in fields.items() if k in {"name", "key"}})
    head = msgspec.structs.replace(head, device=device, origin=fields.get("origin", "measured"))
    write_record(results, head, [measurement(cpu_cell())])


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"name": "Another"}, "devices"), ({"key": "ff"}, "machines"), ({"origin": "replayed"}, "origins")],
)
def test_a_side_is_of_one_device_and_machine_and_of_one_origin(
    fields: dict[str, str], what: str, tmp_path: Path
) -> None:
    written(tmp_path, "00000001")
    written(tmp_path, "00000002")
    pair = measured_side(str(tmp_path), tmp_path, lambda _: None)
    assert pair.side.estimates[cpu_cell()].processes == 2
    assert pair.ids == {"00000001", "00000002"}
    written(tmp_path, "00000003", **fields)
    with pytest.raises(RecordError, match=f"holds records of several {what} "):
        measured_side(str(tmp_path), tmp_path, lambda _: None)


class TestTable:
    def test_what_the_host_limited_has_no_share_anywhere(self) -> None:
        view = shown([changed(BF16, warnings=(LAUNCH_BOUND,))])
        assert "at the clock held" not in [one.head for one in view.columns]
        (one,) = view.document["measurements"]
        assert (one["host_limited"], one["against"], one["at_clock"]) == (True, [], None)
        assert (column(view, "of its published peak"), column(view, "of h20-96gb")) == (["host-limited"],) * 2

    def test_what_it_did_not_has_all_of_them(self) -> None:
        (one,) = shown([BF16]).document["measurements"]
        assert one["host_limited"] is False
        assert [(against["chip"], against["own"]) for against in one["against"]] == [
            ("h100-sxm5-80gb", True), ("h20-96gb", False),
        ]  # fmt: skip
        assert one["at_clock"] is not None

    def test_without_sensors_or_a_clock_json_says_so(self) -> None:
        samples = msgspec.structs.replace(BF16.samples, sm_clock_hz=None, cycles_per_call=None)
        view = shown([changed(BF16, telemetry=None, samples=samples)])
        (one,) = view.document["measurements"]
        assert (one["telemetry"], one["sm_clock_hz"], one["cycles_per_call"]) == (None, None, None)
        assert "clock" not in [column.head for column in view.columns]

    def test_a_cell_that_failed_has_no_rate_and_its_reason_instead_of_an_interval(self) -> None:
        view = shown([changed(BF16, check=FAILED), BY_CUPY], best_only=False)
        assert column(view, "rate")[0] == "no rate"
        assert column(view, "95 % interval")[0].startswith("wrong result: row error 5.0e-01")
        failed, passed = view.document["measurements"]
        assert (failed["processes"], failed["rate"], failed["half_width"]) == (0, None, None)
        assert (failed["best"], passed["best"], passed["processes"]) == (False, True, 1)

    def test_a_cell_whose_types_have_no_common_name_has_a_rate_of_operations_and_no_peak(self) -> None:
        view = shown([changed(BF16, cell=replaced(BF16.cell, compute="int32"))])
        assert column(view, "rate")[0].endswith(" TOP/s")
        assert column(view, "of its published peak") == [""]

    def test_of_the_libraries_the_faster_is_shown_whichever_camefirst_samples(self) -> None:
        for order in ([BF16, BY_CUPY], [BY_CUPY, BF16]):
            assert column(shown(order), "library") == ["cublaslt"]
        assert column(shown([BF16, slowed(BY_CUPY, 0.5)]), "library") == ["cupy.matmul"]
        assert column(shown([BF16, BY_CUPY], best_only=False), "library") == ["cublaslt", "cupy.matmul"]

    def test_an_interval_says_how_it_came_about(self) -> None:
        assert column(shown([changed(BF16, stop="time_cap")]), "95 % interval")[0].endswith(" (time cap)")
        assert column(shown([changed(BF16, stop="exhausted")]), "95 % interval")[0].endswith(" (no more blocks)")
        assert column(shown([BF16], [BF16]), "95 % interval")[0].endswith(" (2 processes)")
        few = changed(BF16, samples=msgspec.structs.replace(BF16.samples, **first_samples(BF16, 3)))
        assert column(shown([few]), "95 % interval") == ["none (3 blocks)"]

    def test_other_data_stand_beside_normal_ones(self) -> None:
        zeros = changed(slowed(BF16, 0.8), cell=replaced(BF16.cell, data="zeros"))
        usual, of_normal = column(shown([BF16, zeros]), "÷ normal")
        assert usual == ""
        assert of_normal.startswith("1.250×")
        assert column(shown([BF16, zeros]), "data") == ["normal", "zeros"]
        wrong = changed(zeros, check=FAILED)
        assert column(shown([BF16, wrong]), "÷ normal") == ["", ""]
        assert "÷ normal" not in [one.head for one in shown([BF16]).columns]


class TestNotes:
    def test_sensors_are_given_as_ranges_over_the_cells(self) -> None:
        cool = changed(
            BF16,
            cell=replaced(BF16.cell, data="zeros"),
            telemetry=Telemetry(
                readings=1,
                seconds=1.0,
                power_w=Spread(least=1.0, median=400.0, most=900.0),
                temperature_c=Spread(least=1.0, median=40.0, most=58.0),
            ),
        )
        assert "sensors, by cell: 400 to 698 W, 58 °C at most" in shown([BF16, cool]).notes

    def test_cells_in_which_they_fell_silent_for_one_reason_share_a_line(self) -> None:
        assert BF16.telemetry is not None
        lost = changed(BF16, telemetry=msgspec.structs.replace(BF16.telemetry, lost="GPU is lost"))
        other = changed(lost, cell=replaced(BF16.cell, data="zeros"))
        said = "the sensors fell silent in bf16 8192³, bf16 8192³ (zeros): GPU is lost"
        assert said in shown([lost, other]).notes

    @pytest.mark.parametrize(("share", "said"), [(0.009, False), (0.01, True)])
    def test_from_a_hundredth_of_the_readings_on_the_power_limit_is_told(self, share: float, said: bool) -> None:
        assert BF16.telemetry is not None
        reasons = {"sw_power_cap": share}
        told = changed(BF16, telemetry=msgspec.structs.replace(BF16.telemetry, event_reasons=reasons))
        assert bool([note for note in shown([told]).notes if "power limit" in note]) == said

    def test_a_warning_names_the_process_if_there_were_several(self) -> None:
        noisy = changed(BF16, warnings=(Caveat(code="bimodal"),))
        assert [note for note in shown([BF16], [noisy]).notes if note.startswith("bf16 8192³, process 2: two ")]
        assert [note for note in shown([noisy]).notes if note.startswith("bf16 8192³: two different")]

    def test_the_time_cap_is_told_once_a_cell_with_what_was_aimed_at(self) -> None:
        capped = changed(BF16, stop="time_cap")
        (said,) = (note for note in shown([capped], [capped]).notes if "time cap" in note)
        assert said.startswith("bf16 8192³: sampling ended at the time cap, before ±0.5 % was reached; ")

    def test_planned_cells_that_are_missing_are_counted(self) -> None:
        run = Run(LINES.header, [[reduce(BF16)]], [], 1.0, interrupted=True)
        planned = len(LINES.header.plan.cells)
        said = f"interrupted: {planned - 1} of {planned} cells are missing"
        assert said in run_view(run, H100, []).notes
        assert not [note for note in shown([BF16]).notes if "missing" in note]


class TestColumns:
    def test_what_is_alike_in_every_row_is_left_out_but_the_library_on_a_gpu(self) -> None:
        def heads(*cells: Cell) -> list[str]:
            return [one.head for one, _ in cell_texts(cells)]

        one = cpu_cell()
        assert heads(one) == ["dtype", "shape"]
        assert heads(one, replaced(one, regime="burst")) == ["dtype", "shape", "regime"]
        assert heads(one, replaced(one, data="zeros")) == ["dtype", "shape", "data"]
        assert heads(one, replaced(one, library="other")) == ["dtype", "shape", "library"]
        assert heads(BF16.cell) == ["dtype", "shape", "library"]
        assert heads(one, replaced(one, regime=None)) == ["dtype", "shape"]
        assert cell_texts([replaced(one, regime="burst"), replaced(one, regime=None)])[-1][1] == ["burst", ""]

    def test_a_cell_without_a_shape_or_format_has_neither(self) -> None:
        unnamed = Cell(operation="matmul", version=1)
        assert {cell_columns(unnamed)[name] for name in "mnk"} == {None}
        assert unnamed.rate_unit is None

    def test_a_peak_is_named_where_it_is_not_of_the_cells_own_format(self) -> None:
        figure = peak().figure
        assert figure is not None
        assert peak_text(figure, BF16.cell) == "989.4 TFLOPS"
        assert peak_text(figure, cpu_cell()) == "989.4 TFLOPS (bf16)"


class TestNext:
    def test_the_next_command_names_the_folder_unless_it_is_the_usual(self) -> None:
        usual = _next_commands(Path("results/a/b.jsonl"), CATALOGUE.context)
        assert usual[0].endswith(CATALOGUE.context[-1])
        elsewhere = _next_commands(Path("my results/a/b.jsonl"), CATALOGUE.context)
        assert elsewhere[0] == f"{usual[0]} --results-dir 'my results'"

    def test_of_what_was_not_saved_there_is_nothing_to_compare(self) -> None:
        assert _next_commands(None, ["h20-96gb"]) == ["chipbench run", "chipbench chips h20-96gb"]


@pytest.mark.parametrize(("seconds", "taken"), [("1", True), ("604800", True), ("0.9", False), ("604801", False)])
def test_a_load_is_sustained_for_a_second_to_a_week(seconds: str, taken: bool) -> None:
    if taken:
        assert Seconds().convert(seconds, None, None) == float(seconds)
        return
    with pytest.raises(click.BadParameter, match="not in the range"):
        Seconds().convert(seconds, None, None)
