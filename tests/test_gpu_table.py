"""What a GPU's results look like: the table, its notes and its data, from a record that was simulated."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.devices.base import Caveat, Device, Telemetry
from bench.devices.nvidia.nvml import FAULTS
from bench.measure.measurement import Measurement, Samples
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.records.record import Header, read_lines, reduce
from bench.report.measured import Run, run_view
from bench.report.wording import WORDING, sentence
from bench.workloads.base import Cell, Plan
from tests import make_simulated
from tests.support import FAILED

CATALOGUE = Catalogue([shipped_specs()])
H100, H20 = CATALOGUE.chip("h100-sxm5-80gb"), CATALOGUE.chip("h20-96gb")
LINES = read_lines(make_simulated.PATH)
(BF16,) = (m for m in LINES.measurements if (m.cell.dtype_name, m.cell.library) == ("bf16", "cublaslt"))


SIMULATED = "Simulated from record 51301a7e, 2026-01-02 03:04:05 UTC: "


def replay(*arguments: str) -> str:
    command = ["run", "--backend", "replay", "--from", str(make_simulated.PATH), *arguments]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def shown(*measurements: Measurement, header: Header = LINES.header, best_only: bool = True) -> Any:  # noqa: ANN401
    cells = tuple(one.cell for one in measurements)
    header = msgspec.structs.replace(header, plan=Plan(workload="gemm", cells=cells))
    run = Run(header, [list(map(reduce, measurements))], [], 1.0, interrupted=False, best_only=best_only)
    return run_view(run, H100, [H20, H100])


def changed(measurement: Measurement, **fields: Any) -> Measurement:  # noqa: ANN401
    return msgspec.structs.replace(measurement, **fields)


def with_telemetry(**fields: Any) -> Measurement:  # noqa: ANN401
    assert BF16.telemetry is not None
    return changed(BF16, telemetry=msgspec.structs.replace(BF16.telemetry, **fields))


class TestRecord:
    def test_the_file_is_what_its_script_writes(self) -> None:
        assert make_simulated.PATH.read_bytes() == make_simulated.record()

    def test_it_says_that_it_is_simulated_however_often_it_is_replayed(self, tmp_path: Path) -> None:
        assert replay("--results-dir", str(tmp_path)).startswith(SIMULATED)
        (again,) = tmp_path.rglob("*.jsonl")
        assert read_lines(again).header.origin == "simulated"
        twice = CliRunner().invoke(main, ["run", "--backend", "replay", "--from", str(again)])
        assert twice.stdout.startswith("Simulated from record ")
        assert ", 2026-01-02 03:04:05 UTC: " in twice.stdout, "the time is that of the samples, not of a replay"

    def test_its_replay_decides_every_cell_alike(self, tmp_path: Path) -> None:
        replay("--results-dir", str(tmp_path))
        (again,) = tmp_path.rglob("*.jsonl")
        assert read_lines(again).measurements == LINES.measurements


class TestTable:
    @pytest.mark.parametrize(
        ("arguments", "name"), [((), "gpu-best.txt"), (("--library", "both"), "gpu-both.txt")]
    )
    def test_it_looks_like_its_golden_file(
        self, arguments: tuple[str, ...], name: str, golden: Callable[[str, str], None]
    ) -> None:
        golden(name, replay(*arguments))

    def test_a_share_at_the_clock_is_that_of_multiprocessors_times_clock_times_flop(self) -> None:
        document = json.loads(replay("--format", "json"))
        per_clock = {"bf16": 4096, "fp16": 4096, "fp8": 8192, "int8": 8192, "tf32": 2048}
        found = [one for one in document["measurements"] if one["dtype"] in per_clock]
        assert len(found) == 9
        for one in found:
            peak = 132 * per_clock[one["dtype"]] * one["sm_clock_hz"]
            assert one["at_clock"]["share"] == pytest.approx(one["rate"] / peak)
            assert one["at_clock"]["figure"] == f"flop_per_clock_per_sm.{one['dtype']}"

    def test_a_format_without_a_sourced_flop_per_clock_has_no_such_share(self) -> None:
        found = {one["dtype"]: one["at_clock"] for one in json.loads(replay("--format", "json"))["measurements"]}
        assert found["fp16_acc16"] is None
        assert found["fp64"]["figure"] == "flop_per_clock_per_sm.fp64_tensor"

    def test_json_holds_the_algorithm_and_the_sensors_of_every_cell(self) -> None:
        for one in json.loads(replay("--format", "json"))["measurements"]:
            assert one["telemetry"]["power_w"]["median"] > 0
            assert one["algorithm"]["timed"] == "calls"

    def test_two_kinds_of_fp8_are_two_rows_with_names_of_their_own(self) -> None:
        rows = [row[0] for row in shown(*LINES.measurements).rows]
        assert rows.count("fp8") == 1
        assert rows.count("fp8 fast") == 1


class TestNotes:
    def test_the_power_limit_is_a_fact_and_said_once(self) -> None:
        (note,) = [note for note in shown(BF16).notes if "power limit" in note]
        assert note == "held back by the power limit, in this share of readings: bf16 8192³ (100 %)"

    @pytest.mark.parametrize("reason", FAULTS)
    def test_every_fault_is_named_with_its_share_and_what_to_do(self, reason: str) -> None:
        notes = shown(with_telemetry(event_reasons={reason: 0.25})).notes
        assert [n for n in notes if reason in n and "25 %" in n and "measure again" in n]

    @pytest.mark.parametrize("reasons", [None, {}, {"gpu_idle": 1.0}, {"hw_slowdown": 0.001}])
    def test_what_is_no_fault_is_not_called_one(self, reasons: dict[str, float] | None) -> None:
        assert not [n for n in shown(with_telemetry(event_reasons=reasons)).notes if "fault" in n]

    def test_sensors_that_fell_silent_are_told(self) -> None:
        assert [
            n
            for n in shown(with_telemetry(lost="GPU is lost")).notes
            if "fell silent in bf16 8192³: GPU is lost" in n
        ]

    def test_several_processes_are_one_row_with_the_clock_and_sensors_of_all(self) -> None:
        """Of three processes, two of them on a chip that held two thirds of the clock: each is as efficient."""
        slow = changed(
            BF16,
            samples=msgspec.structs.replace(
                BF16.samples,
                seconds_per_call=tuple(1.5 * value for value in BF16.samples.seconds_per_call),
                sm_clock_hz=tuple(value / 1.5 for value in BF16.samples.sm_clock_hz or ()),
            ),
        )
        cells = Plan(workload="gemm", cells=(BF16.cell,))
        header = msgspec.structs.replace(LINES.header, plan=cells)
        view = run_view(
            Run(header, [[reduce(one)] for one in (BF16, slow, slow)], [], 1.0, interrupted=False), H100, [H20]
        )
        (one,) = view.document["measurements"]
        alone = shown(BF16).document["measurements"][0]
        # As the rate: the geometric mean over the processes.
        assert one["sm_clock_hz"] == pytest.approx(alone["sm_clock_hz"] / 1.5 ** (2 / 3))
        assert one["at_clock"]["share"] == pytest.approx(alone["at_clock"]["share"])
        assert one["samples"] == 3 * alone["samples"]
        (note,) = [n for n in view.notes if "power limit" in n]
        assert note.count("bf16") == 1

    def test_without_sensors_nothing_is_said_of_them(self) -> None:
        silent = changed(BF16, telemetry=None)
        assert not [n for n in shown(silent).notes if "sensors" in n]
        only_clock = changed(BF16, telemetry=Telemetry(readings=1, seconds=1.0))
        assert not [n for n in shown(only_clock).notes if "sensors" in n]

    def test_warnings_of_the_slower_library_are_left_out_but_not_its_failure(self) -> None:
        (other,) = (
            m for m in LINES.measurements if (m.cell.dtype_name, m.cell.library) == ("bf16", "cupy.matmul")
        )
        noisy = changed(other, warnings=(Caveat(code="bimodal"),))
        assert not [n for n in shown(BF16, noisy).notes if "two different speeds" in n]
        assert [n for n in shown(BF16, noisy, best_only=False).notes if "two different speeds" in n]
        wrong = changed(other, check=FAILED)
        assert [n for n in shown(BF16, wrong).notes if "bf16 8192³ by cupy.matmul: wrong result" in n]

    def test_a_peak_whose_flop_per_clock_is_derived_is_given_as_a_range(self) -> None:
        """What the sheet's 989.4 TFLOPS are worth at a clock is known only from them: at 1.83 GHz, it seems."""
        (note,) = [n for n in shown(BF16).notes if "published (at" in n]
        assert note == "h100-sxm5-80gb in bf16: 989.4 TFLOPS published (at 1.980 GHz it would be 1.071 PFLOP/s)"

    def test_a_peak_that_is_at_the_boost_clock_is_no_range(self) -> None:
        fp64 = LINES.measurements[0]
        assert not [n for n in shown(fp64).notes if "published (at" in n]

    def test_above_the_peak_at_the_clock_held_something_is_not_as_assumed(self) -> None:
        slow_clock = msgspec.structs.replace(
            BF16.samples, sm_clock_hz=(1.2e9,) * len(BF16.samples.seconds_per_call)
        )
        assert [
            n for n in shown(changed(BF16, samples=slow_clock)).notes if "above the peak at the clock held" in n
        ]
        assert not [n for n in shown(BF16).notes if "above the peak at the clock held" in n]

    def test_the_gap_between_the_calls_of_a_graph_is_told(self) -> None:
        graph = changed(BF16, algorithm={**BF16.algorithm, "timed": "graph of 402"})
        assert [n for n in shown(graph).notes if n.endswith("about 1 µs between two: bf16 8192³")]
        assert not [n for n in shown(BF16).notes if "CUDA graphs" in n]

    def test_above_the_published_peak_needs_explaining(self) -> None:
        fast = changed(BF16, samples=Samples(seconds_per_call=(1e-3,) * 6))
        (note,) = [n for n in shown(fast).notes if "above the published peak" in n]
        # 132 multiprocessors × 4096 × 1.98 GHz: the sheet's 989.4 are at 1.83 GHz.
        assert "at 1.980 GHz it would be 1.071 PFLOP/s" in note
        assert not [n for n in shown(BF16).notes if "above the published peak" in n]

    def test_a_gpu_that_no_chip_fits_is_said_to_be_unknown_and_why(self) -> None:
        device = Device(
            kind="gpu", name="NVIDIA H20", folder="unknown-2336", identified_by="PCI id 2336 is no chip"
        )
        header = msgspec.structs.replace(LINES.header, device=device)
        assert [n for n in shown(BF16, header=header).notes if "not known (PCI id 2336 is no chip)" in n]


CODES: dict[str, dict[str, float | str]] = {
    "not_flat": {"seconds": 3.0}, "autocorrelated": {"merged": 4.0}, "bimodal": {}, "busy": {"share": 0.5},
    "taken_together": {"blocks": 4e4, "each": 4.0},
    "outliers": {"count": 1.0, "n": 9.0}, "variable": {"name": "X", "value": "1"}, "mig": {}, "ecc_off": {},
    "gpu_processes": {"count": 2.0}, "power_limit": {"watts": 300.0, "default": 700.0}, "hot": {"celsius": 85.0},
    "application_clocks": {"hz": 1e9, "default": 2e9}, "hidden": {}, "not_tf32": {"rows_error": 1e-7},
    "pcie": {"generation": 3.0, "most": 5.0, "width": 8.0, "width_most": 16.0},
    "launch_bound": {"enqueue_s": 8e-6, "call_s": 9e-6}, "not_captured": {"reason": "no"}, "no_clock": {},
    "in_cache": {"operands": 1e6, "l2": 5e7}, "fast_sums": {"rows_error": 3e-3}, "no_peer_access": {"peer": 3.0},
    "clocks_disagree": {"counted": 1.5e9, "sensor": 1.9e9, "seconds_spread": 0.01, "cycles_spread": 0.01},
    "stepped": {"at": 5.0, "n": 10.0, "ratio": 1.4, "clock_before": 2e9, "clock_after": 1.4e9,
                "cycles_before": 1.0, "cycles_after": 1.0},
    "stalled": {"blocks": 2.0, "n": 9.0, "seconds": 3600.0, "of": 3601.0}, "slept": {"seconds": 9000.0},
    "idle_window": {"seconds": 2.0, "of": 5.0}, "clock_set": {"seconds": -3600.0},
    "future": {"seconds": 3600.0, "started": "2026-01-02 03:04:05"}, "sensors_odd": {"power_w": 0.0},
    "sensors_gap": {"unseen_s": 2.0, "of": 5.0, "readings": 60.0},
    "clock_above_most": {"by": "count", "clock": 4e9, "most": 1.98e9},
}  # fmt: skip


def test_every_warning_has_a_sentence() -> None:
    assert set(CODES) == set(WORDING)
    for code, values in CODES.items():
        text = sentence(Caveat(code=code, values=dict(values)))
        assert not text.startswith("warning "), text
        assert "\n" not in text


@pytest.mark.parametrize(
    ("spreads", "said"),
    [
        (
            {"seconds_spread": 0.18, "cycles_spread": 0.007},
            "differed by 18 % in seconds and 0.70 % in counted cycles",
        ),
        ({"seconds_spread": 0.02, "cycles_spread": 0.007}, "in doubt by as much"),
        ({"seconds_spread": 0.0, "cycles_spread": 0.0}, "in doubt by as much"),
        ({}, "in doubt by as much"),  # of records before 0.4.0
    ],
)
def test_where_seconds_moved_and_cycles_did_not_the_counted_clock_is_not_in_doubt(
    spreads: dict[str, float], said: str
) -> None:
    text = sentence(Caveat(code="clocks_disagree", values={"counted": 1.28e9, "sensor": 1.41e9, **spreads}))
    assert "counted a clock of 1.280 GHz and its sensor said 1.410 GHz" in text
    assert said in text
    assert ("the count is the clock that ran" in text) == (said != "in doubt by as much")


def test_a_cell_says_what_is_unusual_about_it() -> None:
    usual = BF16.cell

    def label(**fields: Any) -> str:  # noqa: ANN401
        cell: Cell = msgspec.structs.replace(usual, **fields)
        return cell.label

    assert usual.label == "bf16 8192³"
    assert label(data="zeros") == "bf16 8192³ (zeros)"
    assert label(regime="sustained:30", data="constant") == "bf16 8192³ (constant, sustained:30)"
