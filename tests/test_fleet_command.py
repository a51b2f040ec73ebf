"""`compare --fleet` as typed: what it prints in every format, what it refuses, and what it makes fail."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from bench.analysis.fleet import fleet_of
from bench.analysis.fleet_evidence import Sign
from bench.cli.options import JUDGED_FORMATS
from bench.devices.base import Caveat
from bench.report.fleet_texts import signs_text
from tests.command import chipbench
from tests.fleet_lab import AILING, BF16, COPY, FP64, node, write_gpu, write_nodes

SLOW: Final = {"slow": {BF16: 1.2}}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_nodes(tmp_path_factory.mktemp("fleet"), "ab", but=AILING))


def document(*args: str | Path) -> Any:  # noqa: ANN401 - it is JSON
    answer = chipbench("compare", *args, "--fleet", "--format", "json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


class TestGolden:
    def test_two_nodes_with_three_ailing_gpus(self, sixteen: str, golden: Callable[[str, str], None]) -> None:
        answer = chipbench("compare", sixteen, "--fleet")
        assert (answer.code, answer.err) == (0, "")
        golden("fleet-16.txt", answer.out)

    def test_two_gpus_one_of_which_computes_a_wrong_product(self, golden: Callable[[str, str], None]) -> None:
        write_nodes(Path("r"), "a", 2, but={"a1": {"failed": (BF16,)}}, origin="measured")
        answer = chipbench("compare", "r", "--fleet")
        assert (answer.code, answer.err) == (0, "")
        golden("fleet-2.txt", answer.out)


class TestTable:
    def test_a_fleet_without_outliers_says_so_in_one_line(self) -> None:
        write_nodes(Path("r"), "abc", cells=(BF16,))
        answer = chipbench("compare", "r", "--fleet")
        assert "none: no device lies beyond its limit" in answer.text
        assert "Devices" not in answer.text  # 24 are too many to be shown one by one
        assert "Hosts" not in answer.text

    def test_one_device_has_nothing_to_be_held_against(self) -> None:
        write_gpu(Path("r"), "a0")
        answer = chipbench("compare", "r", "--fleet")
        assert answer.code == 0
        assert "Fleet of 1 device on 1 host, simulated" in answer.text
        assert "one device only: there is nothing to hold it against" in answer.text
        assert "not told: too few devices" in answer.text

    def test_hosts_that_are_slow_as_wholes_come_first(self) -> None:
        but: Mapping[str, Mapping[str, Any]] = {name: {"slow": 1.12} for name in node("c", 2)}
        write_nodes(Path("r"), "abcdefg", 2, but={**but, "a1": {"slow": 1.5}}, cells=(BF16,))
        hosts = chipbench("compare", "r", "--fleet").out.partition("Hosts\n")[2].splitlines()
        assert "c0c0c0c0" in hosts[4]
        assert "slower in bf16 8192³ by cublaslt: -10." in hosts[4]
        assert "a0a0a0a0" in hosts[5]

    def test_of_very_many_outliers_forty_devices_are_shown_and_the_others_counted(self) -> None:
        but = {f"a{number}": SLOW for number in range(45)}
        write_nodes(Path("r"), "a", 200, but=but, cells=(BF16,))
        answer = chipbench("compare", "r", "--fleet")
        assert "and 5 more devices: --format json has all" in answer.text
        assert len(document("r")["outliers"]) == 45

    def test_a_cell_that_failed_on_every_device_is_shown_beside_the_others(self) -> None:
        write_nodes(Path("r"), "a", 2, cells=(BF16, FP64), failed=(BF16,))
        answer = chipbench("compare", "r", "--fleet")
        assert answer.code == 0, answer.err
        assert "failed: wrong result" in answer.text

    def test_of_twenty_or_more_the_ends_of_the_bulk_are_shown(self) -> None:
        write_nodes(Path("r"), "abc", cells=(BF16,))
        assert "5th to 95th percentile" in chipbench("compare", "r", "--fleet").text
        write_nodes(Path("few"), "ab", cells=(BF16,))
        assert "percentile" not in chipbench("compare", "few", "--fleet").text

    def test_a_cell_of_too_few_devices_does_not_hide_that_of_others_none_is_unlike(self) -> None:
        write_nodes(Path("r"), "a", cells=(BF16,))
        write_gpu(Path("r"), "a0", cells=(COPY,), run="1")
        assert "none: no device lies beyond" in chipbench("compare", "r", "--fleet").text

    def test_what_failed_on_many_devices_has_a_table_of_its_own(self) -> None:
        write_nodes(Path("r"), "ab", 9, but={"b4": {"failed": (BF16,)}}, cells=(BF16,))
        text = chipbench("compare", "r", "--fleet").text
        assert "Failed" in text
        assert "failed: wrong result: row error 5.0e-01" in text

    def test_what_was_left_out_and_what_has_no_verdict_is_said(self) -> None:
        bimodal = {"noise": tuple(1 + 0.05 * (index % 2) for index in range(12))}
        write_nodes(Path("r"), "a", but={"a0": bimodal, "a1": {"complete": False}}, cells=(BF16,))
        write_gpu(Path("r/again"), "a2", cells=(BF16,))
        write_gpu(Path("r"), "a3", cells=(BF16,), run="1")
        text = chipbench("compare", "r", "--fleet").text
        assert "rates without a verdict: 1 it takes turns between two speeds" in text
        assert "left out: 1 record, copies of others" in text
        assert "left out: 1 record, of cells that were measured again since" in text
        assert "interrupted, so that cells may be missing: 1 record" in text


class TestFormats:
    @pytest.mark.parametrize(
        "name", [one for one in JUDGED_FORMATS if one not in {"table", "json", "junit", "csv"}]
    )
    def test_every_format_has_the_outliers_with_what_is_said_of_them(self, sixteen: str, name: str) -> None:
        answer = chipbench("compare", sixteen, "--fleet", "--format", name)
        assert answer.code == 0
        assert "nothing recorded explains it" in answer.text
        assert "simulated" in answer.out

    def test_csv_has_a_line_for_each_cell_of_each_device(self, sixteen: str) -> None:
        answer = chipbench("compare", sixteen, "--fleet", "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(answer.out)))
        assert len(rows) == 16 * 3
        slower = [row for row in rows if row["verdict"] == "slower"]
        assert len(slower) == 7
        assert all(float(row["ratio_hi"]) * (1 + float(row["limit"])) < 1 for row in slower)
        assert all(float(row["limit"]) >= 0.03 for row in rows)
        assert all(float(row["ratio_lo"]) < float(row["ratio"]) < float(row["ratio_hi"]) for row in rows)
        assert all(row["says"] for row in slower)
        assert {row["kind"] for row in rows} == {"simulated"}

    def test_json_says_what_cells_are_once_and_every_rate_below_them(self, sixteen: str) -> None:
        found = document(sixteen)
        assert (len(found["groups"]), len(found["devices"]), len(found["outliers"])) == (3, 16, 7)
        bf16 = found["groups"][0]
        assert (bf16["dtype"], bf16["slower"], bf16["tested"], len(bf16["rates"])) == ("bf16", 3, True, 16)
        assert bf16["least"] < bf16["p05"] < bf16["median_lo"] < bf16["median"] < bf16["median_hi"] < bf16["p95"]
        worst = found["outliers"][0]
        assert (worst["host"], worst["number"], worst["explained"]) == ("a0a0a0a0", 3, True)
        assert worst["signs"][0]["code"] == "clock"
        assert found["outliers"][-1]["explained"] is False
        assert found["tripped"] == []

    def test_json_counts_every_kind_of_verdict_and_tells_what_they_rest_on(self) -> None:
        but: Mapping[str, Mapping[str, Any]] = {
            "a1": {"slow": 0.85},
            **{name: {"slow": 1.2} for name in ("b1", "b2")},
            **{name: {"codes": ("launch_bound",)} for name in node("c", 3)},
            **{name: {"failed": (BF16,)} for name in node("d", 4)},
        }
        folder = write_nodes(Path("r"), "abcdefg", 4, cells=(BF16,), but=but, origin="measured")
        write_nodes(folder / "s", "h", 1, cells=(BF16,))
        found = document("r")
        (group,) = found["groups"]
        rates = sorted(one["rate"] for one in group["rates"] if one["rate"])
        assert (group["least"], group["most"], len(rates)) == (rates[0], rates[-1], 24)
        verdicts = ("faster", "slower", "cant_tell", "failed")
        assert [group[name] for name in ("devices", "counted", *verdicts)] == [28, 21, 1, 2, 3, 4]
        (bulk,) = (one.bulk for one in fleet_of([*folder.rglob("*.jsonl")], lambda _name: None).groups)
        assert bulk is not None
        assert (group["spread"], group["limit_in_spreads"]) == (bulk.scale, bulk.limit)
        assert group["p05"] < group["median"] < group["p95"]
        assert {(one["reason"], one["processes"]) for one in group["rates"] if one["verdict"] == "can't tell"} == {
            ("host_limited", 1)
        }
        assert {one["name"] for one in found["devices"]} == {"NVIDIA H100 80GB HBM3"}
        assert {one["device"] for one in group["rates"]} == {one["device"] for one in found["devices"]}
        assert sorted((one["host"], one["devices"]) for one in found["hosts"]) == [
            (f"{name}0" * 4, 1 if name == "c" else 4) for name in "abefg"
        ]
        assert found["left_out"]["simulated"] == 1

    def test_json_names_what_tripped_and_what_is_damaged(self) -> None:
        folder = write_nodes(Path("r"), "a", cells=(BF16,), but={"a1": SLOW})
        (folder / "20260102T030405Z-bad.jsonl").write_text("nonsense\n")
        words = ("compare", "r", "--fleet", "--skip-bad", "--fail-on", "outlier", "--format", "json")
        answer = chipbench(*words)
        assert answer.code == 6
        found = json.loads(answer.out)
        assert found["left_out"]["damaged"] == 1
        assert [(one["side"], one["fail_on"]) for one in found["tripped"]] == [("GPU 1 of a0a0a0a0", "outlier")]

    def test_junit_fails_what_tripped_and_skips_what_has_no_verdict(self) -> None:
        but: Mapping[str, Mapping[str, Any]] = {
            "a1": SLOW,
            "a2": {"failed": (BF16,)},
            "a3": {"codes": ("launch_bound",)},
        }
        write_nodes(Path("r"), "a", 9, but=but, cells=(BF16,))
        answer = chipbench("compare", "r", "--fleet", "--fail-on", "outlier", "--format", "junit")
        suites = ET.fromstring(answer.out)
        assert [suites.get(name) for name in ("tests", "failures", "skipped")] == ["9", "2", "1"]
        slower, wrong = (str(failure.get("message")) for failure in suites.iter("failure"))
        assert slower.startswith("slower -16.")
        assert wrong.startswith("failed: wrong result")
        assert answer.code == 6
        assert "bf16 8192³: GPU 2 of a0a0a0a0 failed" in answer.err
        assert "without a verdict: 1" in answer.err


class TestGate:
    def test_an_outlier_trips_it(self, sixteen: str) -> None:
        answer = chipbench("compare", sixteen, "--fleet", "--fail-on", "outlier", "--format", "json")
        assert answer.code == 6
        assert "bf16 8192³: GPU 3 of a0a0a0a0 is an outlier" in answer.err
        assert "and 2 more" in answer.err
        assert len(json.loads(answer.out)["tripped"]) == 7

    def test_without_one_it_is_silent(self) -> None:
        write_nodes(Path("r"), "a", cells=(BF16,))
        answer = chipbench("compare", "r", "--fleet", "--fail-on", "OUTLIER")
        assert (answer.code, answer.err) == (0, "")

    def test_a_host_as_a_whole_trips_it(self) -> None:
        but = {name: {"slow": 1.12} for name in node("c", 2)}
        write_nodes(Path("r"), "abcdefg", 2, but=but, cells=(BF16,))
        answer = chipbench("compare", "r", "--fleet", "--fail-on", "outlier")
        assert "host c0c0c0c0 is an outlier" in answer.err

    @pytest.mark.parametrize(
        "words",
        [
            ("--fleet", "--fail-on", "slower"),
            ("--fleet", "--fail-on", "outlier", "--fail-on", "unsane"),
            ("--fail-on", "outlier"),
            ("--fleet", "--sane"),
            ("--fleet", "--allow", "power_limit_w"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, words: tuple[str, ...]) -> None:
        answer = chipbench("compare", "r", *words)
        assert answer.code == 2
        assert "goes with --" in answer.error or "leave one of them out" in answer.error

    @pytest.mark.parametrize("name", ["latest", "h100", "nowhere"])
    def test_what_is_no_path_is_refused(self, name: str) -> None:
        answer = chipbench("compare", name, "--fleet")
        assert answer.code == 2
        assert f"{name!r} is no file or folder" in answer.error


class TestInput:
    def test_several_folders_and_files_are_one_fleet(self) -> None:
        for host in "abc":
            write_nodes(Path(host), host, 2, cells=(BF16,))
        file = min(Path("c").iterdir())
        assert len(document("a", "b", file)["devices"]) == 5

    def test_damaged_records_are_named_and_skipped_on_request(self) -> None:
        write_nodes(Path("r"), "a", 2, cells=(BF16,))
        Path("r/bad.jsonl").write_text("{}\n", encoding="utf-8")
        refused = chipbench("compare", "r", "--fleet")
        assert refused.code == 4
        assert "1 record of r cannot be read; --skip-bad uses the rest" in refused.last_error
        assert "r/bad.jsonl: damaged record" in refused.err
        used = chipbench("compare", "r", "--fleet", "--skip-bad")
        assert used.code == 0
        assert "left out: 1 record, that cannot be read" in used.text
        assert used.err.startswith("skipped: r/bad.jsonl")

    @pytest.mark.parametrize("but", [{"failed": (BF16,)}, {"device": {"key": None}}, {"origin": "replayed"}])
    def test_without_a_single_rate_there_is_nothing_to_show(self, but: Mapping[str, Any]) -> None:
        write_nodes(Path("r"), "a", 2, cells=(BF16,), **but)
        answer = chipbench("compare", "r", "--fleet")
        assert answer.code == 2
        assert "r: no device has a rate here" in answer.error


def texts() -> Iterator[tuple[Sign, str]]:
    """Yield signs that the other tests' devices do not show, each with what is to be read of it."""
    clocks = {"hz": 1.2e9, "usual_hz": 1.5e9}
    yield (
        Sign("clock_partly", {**clocks, "cycles": 0.1}),
        "explains a part: 1.200 GHz, most 1.500 GHz, and it takes 10 % more",
    )
    yield (
        Sign("cycles", {**clocks, "cycles": -0.1}),
        "not the clock (1.200 GHz, most 1.500 GHz): it takes 10 % fewer",
    )
    yield (
        Sign("clock_beyond", {**clocks, "clock": -0.2, "cycles": -0.1}),
        "its clock fell by more than its rate: 1.200 GHz, most 1.500 GHz, and it takes 10 % fewer cycles",
    )
    yield Sign("clock_beyond", {**clocks, "clock": 0.2, "cycles": 0.1}), "its clock rose by more than its rate"
    no_clock = Sign("warned", {"warning": "no_clock"}, weak=True)
    yield no_clock, "its clock could not be counted; nothing recorded explains it"
    yield Sign("clock_moved", clocks), "its clock was 1.200 GHz, most 1.500 GHz"
    yield Sign("memory_clock", clocks), "its memory's clock was 1.200 GHz"
    yield Sign("named", {"name": "driver", "this": "570", "usual": "580"}), "driver 570, most have 580"
    yield (
        Sign("named", {"name": "application_clock_hz", "this": "1.2e9", "usual": "not set"}),
        "application clock 1.20 GHz, most lack it",
    )
    yield (
        Sign("held_back", {"reason": "bit_12", "share": 0.5, "usual": 0.1}),
        "bit_12 in 50 % of readings (most: 10 %)",
    )
    yield Sign("warned", {"warning": "gpu_processes", "count": 1.0}), "other processes used it"
    yield Sign("warned", {"warning": "new"}), "its run warned of new"
    yield Sign("algorithm", {"this": "tile 64x64", "usual": "tile 128x128"}), "(tile 64x64; most: tile 128x128)"
    yield Sign("only", {"kind": "link"}), "the link only"
    yield Sign("only", {"kind": "memory"}), "its memory only"


@pytest.mark.parametrize(("sign", "text"), [*texts()])
def test_every_sign_has_its_words(sign: Sign, text: str) -> None:
    assert text in signs_text([sign])


def test_a_copy_says_what_the_memory_clock_was() -> None:
    write_nodes(Path("r"), "a", but={"a1": {"slow": {COPY: 1.3}, "warnings": [Caveat(code="hot")]}})
    assert "it was hot before it began (cooling); its memory only" in chipbench("compare", "r", "--fleet").text
