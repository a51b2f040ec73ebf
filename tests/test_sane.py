"""`compare --sane`: a run of a known chip against what others measured on it, and what to check."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner

from bench.analysis.sane import judged
from bench.analysis.sides import side_of_others
from bench.cli.main import main
from bench.devices.base import Caveat, Telemetry
from bench.devices.nvidia.nvml import FAULTS, POWER_CAP
from bench.measure.measurement import Measurement, Samples
from bench.published.chips import Catalogue
from bench.published.measured import read_published_measurements
from bench.published.source import shipped_specs
from bench.records.record import encode_line, read_lines
from bench.report.sane import _WHY
from bench.workloads import gemm, stream
from bench.workloads.base import LARGE, MEDIUM, Cell, Plan, Shape, shape_class
from tests import make_simulated
from tests.support import FAILED

LINES = read_lines(make_simulated.PATH)
(BF16,) = (m for m in LINES.measurements if (m.cell.dtype_name, m.cell.library) == ("bf16", "cublaslt"))
# What others measured of the H100 SXM5 in BF16, of large products: 719.72 to 797.51 TFLOPS.
LOWEST, HIGHEST = 719.72e12, 797.51e12


def at(rate: float, cell: Cell = BF16.cell, *, clock: float | None = None, **more: Any) -> Measurement:  # noqa: ANN401
    seconds = tuple(cell.flop / rate * factor for factor in (1, 1.001, 0.999, 1, 1.0005, 0.9995, 1))
    clocks = None if clock is None else (clock,) * len(seconds)
    samples = Samples(seconds_per_call=seconds, sm_clock_hz=clocks)
    return msgspec.structs.replace(BF16, cell=cell, samples=samples, warnings=(), telemetry=None, **more)


def sane(path: Path, *made: Measurement, on: tuple[str, ...] = (), **header: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
    plan = Plan(workload="gemm", cells=tuple(one.cell for one in made))
    head = msgspec.structs.replace(LINES.header, origin="measured", plan=plan, **header)
    lines = [encode_line(head), *(encode_line(one) for one in made)]
    path.write_bytes(b"".join(lines))
    gates = [part for gate in on for part in ("--fail-on", gate)]
    done = CliRunner().invoke(main, ["compare", str(path), "--sane", "--format", "json", *gates])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.mark.parametrize(
    ("rate", "sanity"),
    [
        (0.899 * LOWEST, "too slow"), (0.901 * LOWEST, "sane"), (LOWEST, "sane"), (HIGHEST, "sane"),
        (1.099 * HIGHEST, "sane"), (1.101 * HIGHEST, "too fast"),
    ],
)  # fmt: skip
def test_a_tenth_beyond_what_others_measured_is_sane(rate: float, sanity: str, path: Path) -> None:
    code, document = sane(path, at(rate))
    (cell,) = document["cells"]
    assert (code, cell["sanity"]) == (0, sanity)
    assert cell["published_lo"] == LOWEST
    assert cell["published_hi"] == HIGHEST
    assert "torch-performance-test-data" in cell["sources"]
    assert sane(path, at(rate), on=("unsane",))[0] == (0 if sanity == "sane" else 6)


@pytest.mark.parametrize(
    ("made", "checks"),
    [
        (at(5e14), "slow_library"),
        (at(5e14, clock=1.2e9), "low_clock"),
        (at(5e14, clock=1.9e9), "slow_library"),
        (at(1.2e15), "other_product"),
        (at(1.2e15, clock=2.1e9), "high_clock other_product"),
        (at(9e14, clock=1.2e9), "other_product"),  # above what the chip can do at that clock
    ],
)
def test_it_says_what_to_check(made: Measurement, checks: str, path: Path) -> None:
    assert sane(path, made)[1]["cells"][0]["checks"] == checks


@pytest.mark.parametrize(("rate", "sanity"), [(1.09 * 67e12, "not judged"), (1.11 * 67e12, "too fast")])
def test_of_what_nobody_measured_a_tenth_above_the_published_peak_is_too_fast(
    rate: float, sanity: str, path: Path
) -> None:
    """Of an H100's FP64, 67 TFLOPS on its tensor cores; what clock was held is not known."""
    (fp64,) = (m.cell for m in LINES.measurements if (m.cell.dtype_name, m.cell.library) == ("fp64", "cublaslt"))
    assert sane(path, at(rate, fp64))[1]["cells"][0]["sanity"] == sanity


@pytest.mark.parametrize(("clock", "rate"), [(1.2e9, 5e14), (2.1e9, 1.2e15)])
def test_where_the_clock_is_in_doubt_it_says_which_it_was(clock: float, rate: float, path: Path) -> None:
    sane(path, at(rate, clock=clock))
    text = " ".join(CliRunner().invoke(main, ["compare", str(path), "--sane"]).stdout.split())
    assert f"it held {clock / 1e9:.3f} GHz, of 1.980 GHz" in text


def test_in_junit_only_what_is_sane_has_passed_and_only_what_was_asked_for_fails(path: Path) -> None:
    sane(path, at(7.5e14), at(5e14, changed(l2="hot")), at(7.5e14, changed(data="constant")))
    for gate, second in (([], "skipped"), (["--fail-on", "unsane"], "failure")):
        done = CliRunner().invoke(main, ["compare", str(path), "--sane", "--format", "junit", *gate])
        outcomes = [case[0].tag for case in ET.fromstring(done.stdout).iter("testcase")]
        assert outcomes == ["system-out", second, "skipped"]


def test_what_the_run_warned_of_comes_first(path: Path) -> None:
    warned = (Caveat(code="power_limit", values={"watts": 300.0, "default": 700.0}),)
    slow = msgspec.structs.replace(
        at(5e14), telemetry=Telemetry(readings=10, seconds=1.0, event_reasons={FAULTS[0]: 0.5})
    )
    assert sane(path, slow, warnings=warned)[1]["cells"][0]["checks"] == f"power_limit {FAULTS[0]}"


POWER: Final = Telemetry(readings=10, seconds=1.0, event_reasons={POWER_CAP: 1.0})


@pytest.mark.parametrize(
    ("clock", "telemetry", "warnings", "sanity"),
    [
        (1.3e9, POWER, (), "sane"),  # 500 TFLOP/s at 1.3 GHz would be 762 at 1.98 GHz
        (1.6e9, POWER, (), "too slow"),  # 619: too many cycles
        (1.3e9, None, (), "too slow"),  # nothing says what held the clock back
        (1.0e9, POWER, (), "too slow"),  # half of the boost clock is more than a power limit explains
        (None, POWER, (), "too slow"),
        (1.3e9, POWER, (Caveat(code="power_limit", values={"watts": 300.0, "default": 700.0}),), "too slow"),
        (1.3e9, POWER, (Caveat(code="hot", values={"celsius": 85.0}),), "too slow"),
        (1.3e9, Telemetry(readings=9, seconds=1.0, event_reasons={POWER_CAP: 0.4}), (), "too slow"),
        (1.3e9, Telemetry(readings=9, seconds=1.0, event_reasons={POWER_CAP: 1, FAULTS[0]: 0.1}), (), "too slow"),
    ],
)
def test_what_only_the_power_limit_holds_back_is_sane(
    clock: float | None, telemetry: Telemetry | None, warnings: tuple[Caveat, ...], sanity: str, path: Path
) -> None:
    """Others time some dozens of calls, which end before the power limit slows a chip down."""
    made = msgspec.structs.replace(at(5e14, clock=clock), telemetry=telemetry)
    (cell,) = sane(path, made, warnings=warnings)[1]["cells"]
    assert cell["sanity"] == sanity
    assert (cell["checks"] == "power_limited") == (sanity == "sane")
    text = " ".join(CliRunner().invoke(main, ["compare", str(path), "--sane"]).stdout.split())
    assert ("it held 1.300 GHz, of 1.980 GHz" in text) >= (sanity == "sane")


def changed(**fields: Any) -> Cell:  # noqa: ANN401
    return msgspec.structs.replace(BF16.cell, **fields)


FP8 = [one.cell for one in LINES.measurements if one.cell.dtype_name == "fp8"]


@pytest.mark.parametrize(
    ("made", "check"),
    [
        (at(5e14, changed(data="constant")), "unusual"),
        (at(5e14, changed(regime="burst")), "unusual"),
        (at(5e14, check=FAILED), "failed"),
        (msgspec.structs.replace(at(5e14), warnings=(Caveat(code="launch_bound", values={}),)), "host_limited"),
        (at(1e14, next(one.cell for one in LINES.measurements if one.cell.dtype_name == "int8")), "unpublished"),
        (at(9e14, FP8[0]), "unstated_sums"),
        # 290 operations for a byte, of which this chip's sheet asks for 295; at 300 it is held against squares.
        (at(5e14, changed(shape=Shape(m=310, n=9100, k=9100))), "memory_bound"),
    ],
)
def test_what_others_did_not_measure_so_is_not_judged(made: Measurement, check: str, path: Path) -> None:
    (cell,) = sane(path, made)[1]["cells"]
    assert (cell["sanity"], cell["checks"]) == ("not judged", check)


def test_a_product_of_more_rows_is_bound_by_arithmetic_and_judged(path: Path) -> None:
    (cell,) = sane(path, at(5e14, changed(shape=Shape(m=322, n=9100, k=9100))))[1]["cells"]
    assert cell["sanity"] == "too slow"


@pytest.mark.parametrize(("codes", "check"), [(["in_cache"], "in_cache"), ([], "other_chip")])
def test_a_stream_above_the_published_bandwidth_is_too_fast(codes: list[str], check: str, path: Path) -> None:
    """Of an H100 3.35 TB/s."""
    (copy,) = stream.cells(["copy"], 1 << 28, library="kernel")
    samples = Samples(seconds_per_call=(copy.bytes_moved / 3.8e12,) * 8)
    made = msgspec.structs.replace(
        BF16,
        cell=copy,
        samples=samples,
        warnings=tuple(Caveat(code=code, values={"operands": 1.0, "l2": 2.0}) for code in codes),
        telemetry=None,
    )
    (cell,) = sane(path, made)[1]["cells"]
    assert (cell["sanity"], cell["checks"]) == ("too fast", check)


def test_a_wrong_product_is_not_sane(path: Path) -> None:
    assert sane(path, at(7.5e14, check=FAILED), on=("unsane",))[0] == 6


def test_fast_sums_may_be_too_slow(path: Path) -> None:
    assert FP8[1].fast_accumulate
    assert sane(path, at(9e14, FP8[1]))[1]["cells"][0]["sanity"] == "too slow"


@pytest.mark.parametrize(
    ("device", "said"),
    [({"chip": None}, "is no known chip"), ({"chip": "t4"}, "nobody's measurements are known here")],
)
def test_without_anything_to_hold_it_against_it_says_so(device: Mapping[str, Any], said: str, path: Path) -> None:
    code, answer = sane(path, at(7e14), device=msgspec.structs.replace(LINES.header.device, **device))
    assert (code, said in answer["error"]) == (2, True)


@pytest.mark.parametrize(
    ("size", "name"),
    [(MEDIUM - 1, "small"), (MEDIUM, "medium"), (LARGE - 1, "medium"), (LARGE, "large"), (16384, "large")],
)
def test_a_shape_s_class_is_that_of_the_square_of_its_volume(size: int, name: str) -> None:
    assert shape_class(gemm.square(size)) == name
    assert shape_class(Shape(m=size, n=2 * size, k=2 * size)) == shape_class(gemm.square(int(size * 4 ** (1 / 3))))


def test_every_check_has_its_words() -> None:
    catalogue = Catalogue([shipped_specs()])
    chip = catalogue.resolve("h100").chip
    codes = {"power_limit", "application_clocks", "gpu_processes", "busy", "hot", *FAULTS, "not_flat"}
    codes |= {"in_cache", "other_chip"}
    codes |= {
        "power_limited",
        "autocorrelated",
        "bimodal",
        "stalled",
        "stepped",
        "low_clock",
        "steered",
        "slow_library",
        "data",
        "high_clock",
    }
    codes |= {"other_product", "failed", "host_limited", "unusual", "unpublished", "memory_bound", "unstated_sums"}
    assert set(_WHY) == codes
    others = side_of_others(chip, read_published_measurements([shipped_specs()])[chip.id])
    assert judged(others, chip, []), "of every cell something is said"
