"""What lies beyond its limit, failed, or cannot be tested is named by `compare --fleet`; it does not pass."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from bench.analysis.fleet import Fleet
from bench.report.fleet import fleet_view
from bench.report.view import Section
from tests.command import chipbench
from tests.fleet_lab import BF16, COPY, write_gpu, write_nodes
from tests.test_fleet import found_in, standing

TWO_SPEEDS: Final = (1, 1.3) * 6
SLOWEST: Final = {"slow": {BF16: 1.3}, "noise": TWO_SPEEDS}
WIDE: Final = {"noise": (1, 1.08, 0.93, 1.05, 0.95, 1.07, 0.94, 1.0)}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def section(fleet: Fleet, title: str) -> Section:
    (found,) = (one for one in fleet_view(fleet).sections if one.title == title)
    return found


def gated(**options: str) -> Any:  # noqa: ANN401 - an answer
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return chipbench("compare", "r", "--fleet", "--fail-on", "outlier", *words)


class TestBeyondWithoutVerdict:
    def test_the_slowest_of_many_is_named_though_nothing_can_be_told_of_it(self) -> None:
        fleet = found_in(write_nodes(Path("r"), "abc", but={"b5": SLOWEST}, cells=(BF16, COPY)))
        assert section(fleet, "Outliers").lead == [
            "none is told; 1 device lies beyond the limit without a verdict (see below)"
        ]
        found = section(fleet, "Without a verdict")
        heads = [column.head for column in found.columns]
        rows = [dict(zip(heads, row, strict=True)) for row in found.rows]
        assert [(row["host"], row["GPU"], row["operation"]) for row in rows] == [
            ("b0b0b0b0", "5", "matmul"), ("b0b0b0b0", "5", "copy"),
        ]  # fmt: skip
        assert rows[0]["against the median"].startswith("-33.")
        assert rows[0]["why it has none"] == "it takes turns between two speeds"
        assert "it takes 51 % more cycles" in rows[0]["what its records say"]

    def test_it_is_named_beside_outliers_and_with_the_condition_too(self) -> None:
        write_nodes(Path("r"), "abc", but={"b5": SLOWEST, "a1": {"slow": 1.1}}, cells=(BF16,))
        answer = gated(format="json")
        assert answer.code == 6
        said = "without a verdict: 1 (no condition of --fail-on is met by those); beyond the limit: bf16 8192³: "
        assert f"{said}GPU 5 of b0b0b0b0 -33." in answer.err
        found = json.loads(answer.out)
        assert [(one["host"], one["number"]) for one in found["untold"]] == [("b0b0b0b0", 5)]
        assert [one["number"] for one in found["outliers"]] == [1]
        assert found["untold"][0]["signs"][0]["explains"] is False

    def test_what_lies_within_its_limit_without_a_verdict_is_only_counted(self) -> None:
        fleet = found_in(write_nodes(Path("r"), "abc", but={"b5": {"noise": (1, 1.02) * 6}}, cells=(BF16,)))
        (group,) = fleet.groups
        assert (group.how_many("can't tell"), fleet.untold) == (1, [])
        assert section(fleet, "Outliers").lead == ["none: no device lies beyond its limit"]

    def test_of_very_many_forty_are_shown_and_the_others_counted(self) -> None:
        but = {f"a{number}": SLOWEST for number in range(42)}
        fleet = found_in(write_nodes(Path("r"), "a", 100, but=but, cells=(BF16,)))
        found = section(fleet, "Without a verdict")
        assert (len(found.rows), found.notes[-1]) == (40, "and 2 more rates: --format json has all")

    def test_only_an_interval_within_twice_the_limit_is_in_line(self) -> None:
        fleet = found_in(write_nodes(Path("r"), "ab", but={"a2": WIDE}, cells=(BF16,)))
        found = next(one for one in fleet.groups[0].standings if one.entry.unit.label == "GPU 2 of a0a0a0a0")
        assert found.ratio is not None
        assert found.ratio.value == pytest.approx(1, abs=0.02)
        assert (found.verdict, found.reason) == ("can't tell", "interval")


class TestFailures:
    def test_a_wrong_result_trips_whatever_rate_there_was_before(self) -> None:
        write_nodes(Path("r"), "a", cells=(BF16,))
        write_gpu(Path("r"), "a2", cells=(BF16,), run="1", failed=(BF16,))
        answer = gated(format="junit")
        assert answer.code == 6
        assert "bf16 8192³: GPU 2 of a0a0a0a0 failed" in answer.err
        (failure,) = ET.fromstring(answer.out).iter("failure")
        assert "failed: wrong result" in str(failure.get("message"))

    def test_what_failed_since_is_not_passed_where_nothing_was_asked(self) -> None:
        write_nodes(Path("r"), "a", cells=(BF16,))
        write_gpu(Path("r"), "a2", cells=(BF16,), run="1", failed=(BF16,))
        suites = ET.fromstring(chipbench("compare", "r", "--fleet", "--format", "junit").out)
        assert (suites.get("tests"), suites.get("skipped"), suites.get("failures")) == ("8", "1", "0")

    def test_the_document_says_that_it_failed(self) -> None:
        write_nodes(Path("r"), "a", cells=(BF16,), but={"a2": {"failed": (BF16,)}, "a3": {"slow": 1.2}})
        tripped = json.loads(gated(format="json").out)["tripped"]
        assert [one["found"] for one in tripped] == ["outlier", "failed"]


class TestNoTest:
    def test_whoever_asks_for_outliers_of_too_few_devices_is_told(self) -> None:
        write_nodes(Path("r"), "a", 4, but={"a2": {"slow": 2.0}}, cells=(BF16,))
        answer = gated()
        assert (answer.code, answer.err) == (0, "no test: 4 rates (fewer than 5 devices with a usable rate)\n")

    def test_rates_that_scatter_too_much_to_tell_any_are_told(self) -> None:
        but: Mapping[str, Any] = {f"a{number}": {"slow": 1.25} for number in range(4)}
        fleet = found_in(write_nodes(Path("r"), "a", but=but, cells=(BF16,)))
        ((group, limit),) = fleet.scattered
        assert (group.cell, limit > 1) == (BF16, True)
        said = "rates scatter so much that only what is so far off would be told: bf16 8192³ by cublaslt (±"
        assert said in " ".join(fleet_view(fleet).notes)
        assert gated().err.startswith(said)

    def test_steady_ones_are_not_said_to_scatter(self) -> None:
        assert found_in(write_nodes(Path("r"), "a", cells=(BF16,))).scattered == []


class TestCopies:
    def test_of_copies_of_a_record_the_longest_counts_wherever_it_lies(self) -> None:
        whole = write_nodes(Path("r/z"), "a", but={"a2": {"slow": 1.3}}, cells=(BF16, COPY))
        source = next(path for path in whole.iterdir() if path.name.endswith("a00002r0.jsonl"))
        lines = source.read_bytes().splitlines(keepends=True)
        for folder, count in (("a", 1), ("b", 3), ("zz", 2)):
            Path("r", folder).mkdir()
            Path("r", folder, source.name).write_bytes(b"".join(lines[:count]))
        fleet = found_in(Path("r"))
        assert standing(fleet, 2).verdict == standing(fleet, 2, COPY).verdict == "slower"
        assert (fleet.left_out.copies, fleet.left_out.interrupted) == (3, 0)
        source.unlink()
        cut = found_in(Path("r"))
        assert standing(cut, 2).verdict == standing(cut, 2, COPY).verdict == "slower"
        assert (cut.left_out.copies, cut.left_out.interrupted) == (2, 1)


class TestTables:
    def test_a_device_s_key_is_shown_where_its_place_does_not_tell_it(self) -> None:
        def heads(folder: str, **but: Mapping[str, Any]) -> list[str]:
            fleet = found_in(write_nodes(Path(folder), "a", 3, but=but, cells=(BF16,)))
            return [column.head for column in section(fleet, "Devices").columns]

        assert "device" not in heads("1")
        assert "device" in heads("2", a1={"device": {"index": None}})
        assert "device" in heads("3", a1={"device": {"host_key": None}})
        assert "device" in heads("4", a1={"device": {"index": 2}})

    def test_long_names_of_machines_are_shortened_while_they_differ(self) -> None:
        def shown(folder: str, name: str) -> set[str]:
            devices = [{"host": name.format(number), "host_key": None} for number in range(3)]
            but = {f"a{number}": {"device": device} for number, device in enumerate(devices)}
            fleet = found_in(write_nodes(Path(folder), "a", 3, but=but, cells=(BF16,)))
            return {row[0] for row in section(fleet, "Devices").rows}

        long = "gpu-node-with-a-long-name-{}"
        assert shown("1", f"{long}.rack.example.com") == {f"gpu-node-w…ng-name-{number}" for number in range(3)}
        assert shown("2", "gpu.rack-{}.one.example.com") == {f"gpu.rack-{n}…ample.com" for n in range(3)}
        alike = f"{long}-in-the-middle-of-it"
        assert shown("3", alike) == {alike.format(number) for number in range(3)}

    def test_an_outlier_s_row_says_what_its_other_cells_show_once(self) -> None:
        but = {"a2": {"slow": {BF16: 1.25, COPY: 1.2}, "clock": 0.8, "celsius": 88.0}}
        fleet = found_in(write_nodes(Path("r"), "a", but=but, cells=(BF16, COPY)))
        (row,) = section(fleet, "Outliers").rows
        assert row[-1].startswith("its clock explains it: 1.200 GHz, most 1.500 GHz; at 88 °C")
        assert row[-1].endswith("in copy 1.07 GB: its clock was 1.200 GHz, most 1.500 GHz")
        assert row[-1].count("88 °C") == 1

    def test_a_row_says_of_which_cells_nothing_explains_it(self) -> None:
        write_gpu(Path("r"), "a2", cells=(BF16,), slow=1.25, clock=0.8)
        write_gpu(Path("r"), "a2", cells=(COPY,), slow=1.2, run="1")
        (row,) = section(found_in(write_nodes(Path("r"), "b", cells=(BF16, COPY))), "Outliers").rows
        assert row[-1].startswith("its clock explains it")
        assert row[-1].endswith("; in copy 1.07 GB: nothing recorded explains it")

    def test_a_row_that_nothing_explains_says_so_once_and_last(self) -> None:
        but = {"a2": {"slow": {COPY: 1.3, BF16: 1.2}}}
        (row,) = section(found_in(write_nodes(Path("r"), "a", but=but, cells=(BF16, COPY))), "Outliers").rows
        assert row[-1].startswith("in bf16 8192³: not the clock")
        assert row[-1].endswith("cycles a call; nothing recorded explains it")
        assert row[-1].count("nothing recorded") == 1
