"""`project` as typed, on small records: what it refuses and leaves out, what it prints, and what things cost."""

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.devices.base import Caveat, Spread, Telemetry
from bench.measure.measurement import Measurement, Samples
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.records.record import Footer, encode_line, read_lines
from bench.workloads import gemm, stream
from bench.workloads.base import Cell, Plan, Shape
from tests import make_simulated
from tests.command import Answer, chipbench
from tests.explain_lab import UNKNOWN, write_chip
from tests.support import FAILED

LINES: Final = read_lines(make_simulated.PATH)
FIRST: Final = LINES.measurements[0]
IDS: Final = Catalogue([shipped_specs()]).ids
ABSENT: Final = 'status = "inapplicable"'
STEADY: Final = (1, 1.001, 0.999, 1, 1.0005, 0.9995, 1)
_NUMBERS: Final = itertools.count()


def product(dtype: str = "bf16", m: int = 8192, n: int = 8192, k: int = 8192, **more: Any) -> Cell:  # noqa: ANN401
    made = gemm.cells([dtype], [Shape(m=m, n=n, k=k)], library="cublaslt", l2="rotate")[0]
    return msgspec.structs.replace(made, **more)


def copy(**more: Any) -> Cell:  # noqa: ANN401
    (made,) = stream.cells(["copy"], 1 << 28, library="kernel")
    return msgspec.structs.replace(made, **more)


def at(
    rate: float,
    cell: Cell,
    *codes: str,
    clock: float | None = 1.5e9,
    watts: float | None = 600.0,
    **more: Any,  # noqa: ANN401
) -> Measurement:
    """Return a measurement of a cell at a rate, a clock held and a power drawn, with warnings of these codes."""
    work = cell.work
    assert work
    seconds = tuple(work / rate * factor for factor in STEADY)
    drawn = None if watts is None else Spread(least=watts, median=watts, most=watts)
    values: dict[str, float | str] = {"enqueue_s": 2e-3, "call_s": 1e-3, "operands": 1.0, "l2": 2.0}
    return msgspec.structs.replace(
        FIRST,
        cell=cell,
        algorithm={},
        samples=Samples(seconds_per_call=seconds, sm_clock_hz=None if clock is None else (clock,) * len(seconds)),
        warnings=tuple(Caveat(code=code, values=values) for code in codes),
        telemetry=Telemetry(readings=9, seconds=1.0, power_w=drawn, event_reasons={}),
        **more,
    )


PLAIN: Final = (at(7e14, product()), at(4.5e13, product(m=16)), at(3e12, copy()))


def saved(
    folder: Path,
    made: Sequence[Measurement] = PLAIN,
    *,
    workload: str = "gemm",
    model: str | None = None,
    device: Mapping[str, Any] = {},
    settings: Mapping[str, str] = {},
    flagged: Mapping[str, str] = {},
    **header: Any,  # noqa: ANN401
) -> Path:
    """Write a record of an H100 that passes for measured, and return its path."""
    number = next(_NUMBERS)
    plain = LINES.header.environment
    head = msgspec.structs.replace(
        LINES.header,
        **{"origin": "measured", "id": f"{number:08x}", **header},
        plan=Plan(workload=workload, cells=tuple(one.cell for one in made), model=model),
        device=msgspec.structs.replace(LINES.header.device, **device),
        environment=msgspec.structs.replace(plain, settings={**plain.settings, **settings}, flagged={**flagged}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"20260102T030405Z-{number:08x}.jsonl"
    lines = [encode_line(head), *(encode_line(one) for one in made)]
    footer = Footer(ended="2026-01-02T03:05:05Z", measurements=len(made), seconds=60.0)
    path.write_bytes(b"".join([*lines, encode_line(footer)]))
    return path


def projected(source: str | Path, target: str = "h20-96gb", *more: str | Path) -> Answer:
    return chipbench("project", "--from", source, "--to", target, *more)


def document(source: str | Path, target: str = "h20-96gb", *more: str | Path) -> dict[str, Any]:
    answer = projected(source, target, *more, "--format", "json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def left_out(found: Mapping[str, Any]) -> dict[str, str]:
    """Return why each cell was left out, by its canonical JSON."""
    return {one["cell"]: one["reason"] for one in found["left_out"]}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return saved(tmp_path)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


class TestRefused:
    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["--to", "h20-96gb"], "'--from'"),
            (["--from", "published:h100-sxm5-80gb"], "'--to'"),
            ([], "'--from'"),
            (["--from", "R", "--to", "h20-96gb", "--workload", "llm"], "--model"),
            (["--from", "R", "--to", "h20-96gb", "--model", "deepseek-r1"], "--workload llm"),
            (
                ["--from", "R", "--to", "h20-96gb", "--workload", "gemm", "--model", "deepseek-r1"],
                "--workload llm",
            ),
            (["--from", "R", "--to", "h20-96gb", "--workload", "attention"], "'attention'"),
            (["--from", "R", "--to", "h20-96gb", "extra"], "extra"),
            (["--from", "R", "--to", ""], "unknown chip"),
            (["--from", "", "--to", "h20-96gb"], "an empty name"),
            (["--from", "no-such.jsonl", "--to", "h20-96gb"], "'no-such.jsonl' is no record"),
            (["--from", "published:no-such", "--to", "h20-96gb"], "unknown chip 'no-such'"),
            (["--from", "published:t4", "--to", "h20-96gb"], "nobody's measurements are known here"),
        ],
    )
    def test_what_cannot_be_asked_is_a_usage_error_in_one_line(
        self, args: Sequence[str], said: str, record: Path
    ) -> None:
        answer = chipbench("project", *(str(record) if arg == "R" else arg for arg in args))
        assert answer.code == 2
        assert said in answer.error

    @pytest.mark.parametrize(("name", "near"), [("h20-96g", "h20-96gb"), ("h2000", "h200"), ("A1000", "a100")])
    def test_of_an_unknown_target_near_names_are_told(self, name: str, near: str, record: Path) -> None:
        answer = projected(record, name)
        assert answer.code == 2
        assert near in answer.error.partition("did you mean")[2]

    def test_of_an_unknown_model_near_names_are_told(self, record: Path) -> None:
        answer = projected(record, "h20-96gb", "--workload", "llm", "--model", "deepseek-r2")
        assert answer.code == 2
        assert "deepseek-r1" in answer.error.partition("did you mean")[2]

    @pytest.mark.parametrize("name", ["h100-sxm5-80gb", "h100"])
    def test_a_chip_s_sheet_has_no_rate_and_what_others_measured_is_pointed_to(self, name: str) -> None:
        answer = projected(name)
        assert answer.code == 2
        assert f"published:{name}" in answer.last_error
        assert projected(f"published:{name}").code == 0

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"device": {"kind": "cpu", "name": "A processor", "chip": None}}, "A processor is no known chip"),
            ({"device": {"name": "NVIDIA X1", "chip": None}}, "NVIDIA X1 is no known chip"),
            ({"device": {"chip": "x1-of-another-folder"}}, "is no known chip"),
            ({"origin": "replayed", "replay_of": "0a1b2c3d", "replayed_from": "x"}, "replay"),
            ({"warnings": (Caveat(code="mig"),)}, "MIG"),
            ({"settings": {"mig": "true"}}, "MIG"),
            ({"flagged": {"NVIDIA_TF32_OVERRIDE": "0"}}, "NVIDIA_TF32_OVERRIDE"),
            ({"made": [at(7e14, product(), check=FAILED)]}, "failed"),
            ({"made": [at(7e14, product(data="constant")), at(3e12, copy(), "launch_bound")]}, "nothing in it"),
        ],
    )
    def test_a_record_that_tells_nothing_of_another_chip_is_refused(
        self, changes: Mapping[str, Any], said: str, tmp_path: Path
    ) -> None:
        path = saved(tmp_path, **changes)
        answer = projected(path)
        assert answer.code == 4
        assert said in answer.error
        assert path.name in answer.error

    def test_which_device_was_chosen_steers_no_library(self, tmp_path: Path) -> None:
        assert projected(saved(tmp_path, flagged={"CUDA_VISIBLE_DEVICES": "set"})).code == 0

    def test_records_of_one_folder_at_two_power_limits_are_no_source(self, tmp_path: Path) -> None:
        folder = tmp_path / "two"
        saved(folder)
        assert projected("two").code == 0
        saved(folder, settings={"power_limit_w": "500.0"})
        answer = projected("two")
        assert answer.code == 4
        assert "power_limit_w" in answer.error
        assert "not comparable" in answer.error

    def test_a_folder_with_a_damaged_record_needs_to_be_told_to_skip_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "two"
        saved(folder)
        (folder / "20260101T000000Z-bad00bad.jsonl").write_text("{", encoding="utf-8")
        answer = projected("two")
        assert answer.code == 4
        assert "--skip-bad" in answer.last_error
        skipping = projected("two", "h20-96gb", "--skip-bad")
        assert skipping.code == 0
        assert "skipped: " in skipping.err
        assert "bad00bad" in skipping.err

    @pytest.mark.parametrize(
        ("figures", "said"),
        [
            ({"bf16": ABSENT}, "invented has no bf16"),
            ({"bf16": UNKNOWN}, "no bf16 of invented is published"),
            ({"memory_bandwidth": UNKNOWN}, "no memory_bandwidth of invented is published"),
        ],
    )
    def test_a_target_without_what_is_needed_is_refused(
        self, figures: Mapping[str, str], said: str, tmp_path: Path
    ) -> None:
        write_chip(tmp_path / "specs" / "chips" / "invented.toml", figures)
        path = saved(tmp_path, [at(7e14, product())])
        answer = projected(path, "invented", "--specs-dir", "specs")
        assert answer.code == 2
        assert said in answer.error

    def test_a_chip_without_the_format_takes_no_fp8(self, tmp_path: Path) -> None:
        answer = projected(saved(tmp_path, [at(1.2e15, product("fp8"))]), "v100-sxm2-32gb")
        assert answer.code == 2
        assert "v100-sxm2-32gb has no fp8" in answer.error

    @pytest.mark.parametrize("workload", ["skinny", "stream"])
    def test_a_workload_that_was_not_measured_is_told_how_to_measure(self, workload: str, record: Path) -> None:
        answer = projected(record, "h20-96gb", "--workload", workload)
        assert answer.code == 4
        assert f"chipbench run --workload {workload}" in answer.error
        assert document(record, "h20-96gb", "--workload", "gemm")["cells"]


def test_of_a_folder_only_the_workload_that_was_asked_for_is_shown(tmp_path: Path) -> None:
    failed = at(6e14, product("fp16"), check=FAILED)
    saved(tmp_path / "two", [PLAIN[0], failed])
    saved(tmp_path / "two", PLAIN[2:], workload="stream")
    for workload, operation, left in (("gemm", "matmul", [failed.cell.key]), ("stream", "copy", [])):
        found = document("two", "h20-96gb", "--workload", workload)
        assert [one["operation"] for one in found["cells"]] == [operation]
        assert [*left_out(found)] == left


LEFT: Final = [
    (at(6e14, product("fp16"), check=FAILED), "failed", "it failed its check"),
    (at(6e14, product("fp16"), "launch_bound"), "launch_bound", "the host set its rate"),
    (at(4e12, copy(elements=1 << 20), "in_cache"), "in_cache", "a cache held its operands"),
    (at(9e14, product(data="constant")), "unusual", "its data are not normal"),
    (at(9e14, product(regime="burst")), "unusual", "it was a burst"),
    (at(9e14, product(load="together")), "unusual", "beside other devices"),
    (at(1.2e15, product("fp8")), "a100-sxm4-80gb has no fp8", "a100-sxm4-80gb has no fp8"),
]


@pytest.mark.parametrize(("made", "code", "words"), LEFT)
def test_a_cell_that_is_left_out_is_named_with_its_reason_and_the_others_are_projected(
    made: Measurement, code: str, words: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, [*PLAIN, made])
    found = document(path, "a100-sxm4-80gb")
    assert left_out(found) == {made.cell.key: code}
    assert len(found["cells"]) == len(PLAIN)
    text = projected(path, "a100-sxm4-80gb").text
    assert f"left out: {made.cell.label}: " in text
    assert words in text.partition("left out: ")[2]


def test_with_nothing_left_out_nothing_is_told_of_it(record: Path) -> None:
    assert document(record)["left_out"] == []
    assert "left out" not in projected(record).text


def test_the_json_tells_every_cell_with_its_range_and_what_limits_it(record: Path) -> None:
    found = document(record)
    assert (found["schema"], found["kind"]) == (1, "projected")
    ends = (found["source_kind"], found["source_chip"], found["target"])
    assert ends == ("measured", "h100-sxm5-80gb", "h20-96gb")
    big, small, copied = found["cells"]
    for one, m in ((big, 8192), (small, 16)):
        assert (one["operation"], one["dtype"]) == ("matmul", "bf16")
        assert (one["m"], one["n"], one["k"]) == (m, 8192, 8192)
        assert one["low_flop_per_s"] <= one["projected_flop_per_s"] <= one["high_flop_per_s"]
        assert one["low_flop_per_s"] < one["high_flop_per_s"]
        assert (one["projected_byte_per_s"], one["low_byte_per_s"], one["high_byte_per_s"]) == (None, None, None)
    assert copied["low_byte_per_s"] <= copied["projected_byte_per_s"] <= copied["high_byte_per_s"]
    assert (copied["projected_flop_per_s"], copied["low_flop_per_s"]) == (None, None)
    assert (big["bound_by"], small["bound_by"], copied["bound_by"]) == ("compute", "memory", "memory")
    assert big["projected_flop_per_s"] < 148e12, "no more than the H20's peak"
    assert copied["projected_byte_per_s"] == pytest.approx(3e12 * 4000 / 3350, rel=1e-6), "as the bandwidths are"


@pytest.mark.parametrize("target", IDS)
@pytest.mark.parametrize("source", ["record", "published:h100-sxm5-80gb", "published:h20-96gb"])
def test_on_every_chip_the_range_holds_the_rate_and_the_limit_is_one_of_four(
    source: str, target: str, record: Path
) -> None:
    answer = projected(record if source == "record" else source, target, "--format", "json")
    if answer.code == 2:
        assert answer.error.startswith("chipbench: nothing of ")
        return
    for one in json.loads(answer.out)["cells"]:
        unit = "byte_per_s" if one["operation"] == "copy" else "flop_per_s"
        low, middle, high = (one[f"{end}_{unit}"] for end in ("low", "projected", "high"))
        assert 0 < low <= middle <= high
        assert one["bound_by"] in {"compute", "memory", "power", "latency"}
        assert one["kind"] == "projected"


@pytest.mark.parametrize("format_name", ["table", "md", "csv", "json", "latex", "html"])
@pytest.mark.parametrize("source", ["record", "published:h100-sxm5-80gb"])
def test_every_format_says_that_it_is_projected(format_name: str, source: str, record: Path) -> None:
    answer = projected(record if source == "record" else source, "h20-96gb", "--format", format_name)
    assert (answer.code, answer.err) == (0, "")
    assert "projected" in answer.out
    assert "h20-96gb" in answer.out


def test_the_csv_has_what_the_json_has(record: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(projected(record, "h20-96gb", "--format", "csv").out)))
    cells = document(record)["cells"]
    assert [{name: "" if value is None else str(value) for name, value in one.items()} for one in cells] == rows


def test_a_simulated_source_is_named_as_such(tmp_path: Path) -> None:
    path = saved(tmp_path, origin="simulated")
    assert document(path)["source_kind"] == "simulated"
    assert "simulated" in projected(path).text


class TestMoney:
    def test_usd_and_joules_are_as_counted_by_hand(self, record: Path) -> None:
        found = document(record, "h20-96gb", "--price", "h100-sxm5-80gb=3.60", "--price", "h20-96gb=1.08")
        big, _, copied = found["cells"]
        assert big["source_rate"] == pytest.approx(7e14)
        assert big["source_usd_per_pflop"] == pytest.approx(0.001 / 7e14 * 1e15)
        assert big["usd_per_pflop"] == pytest.approx(0.0003 / big["projected_flop_per_s"] * 1e15)
        assert big["source_j_per_pflop"] == pytest.approx(600 / 7e14 * 1e15), "at the power that was drawn"
        assert big["most_j_per_pflop"] == pytest.approx(400 / big["low_flop_per_s"] * 1e15), "at its 400 W"
        assert {copied[name] for name in copied if name.endswith("_pflop")} == {None}, "a copy computes nothing"

    def test_one_price_prices_one_chip(self, record: Path) -> None:
        big = document(record, "h20-96gb", "--price", "h20-96gb=.5")["cells"][0]
        assert big["source_usd_per_pflop"] is None
        assert big["usd_per_pflop"] == pytest.approx(0.5 / 3600 / big["projected_flop_per_s"] * 1e15)
        text = projected(record, "h20-96gb", "--price", "h20-96gb=.5").text
        assert "Money and energy" in text
        assert "h20-96gb at 0.5 USD an hour" in text

    def test_without_a_price_there_is_no_money(self, record: Path) -> None:
        assert "USD" not in projected(record).text

    def test_an_alias_prices_its_chip(self, record: Path) -> None:
        by_alias, by_id = (document(record, "h20-96gb", "--price", f"{name}=2") for name in ("h20", "h20-96gb"))
        assert by_alias == by_id

    def test_a_price_of_a_chip_that_is_not_there_is_told_and_harmless(self, record: Path) -> None:
        answer = projected(record, "h20-96gb", "--price", "t4=1")
        assert answer.code == 0
        assert answer.err == "--price t4=1: t4 is not in this answer\n"
        assert answer.out == projected(record).out

    @pytest.mark.parametrize(
        ("prices", "said"),
        [
            (["h20-96gb"], "CHIP=USD"),
            (["=1"], "CHIP=USD"),
            (["no-such-chip=1"], "unknown chip 'no-such-chip'"),
            (["h20-96gb=1", "h20-96gb=2"], "h20-96gb has a price already"),
            (["h20=1", "h20-96gb=1"], "h20-96gb has a price already"),
        ],
    )
    def test_a_price_is_of_one_known_chip_and_given_once(
        self, prices: Sequence[str], said: str, record: Path
    ) -> None:
        answer = projected(record, "h20-96gb", *(part for price in prices for part in ("--price", price)))
        assert answer.code == 2
        assert said in answer.error
