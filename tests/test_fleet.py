"""Which device of a fleet is unlike the others, what its records say of that, and which records count."""

import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from bench.analysis.fleet import Fleet, Standing, fleet_of, limit_of, standing_at
from bench.analysis.fleet_evidence import Sign, explains
from bench.analysis.fleet_units import fleet_paths
from bench.devices.base import Caveat
from bench.errors import InvalidRequest, RecordError
from bench.published.chips import Catalogue
from bench.published.source import shipped_specs
from bench.records.record import Member, Process
from bench.stats import Interval
from bench.workloads.base import Cell
from tests.fleet_lab import AILING, BF16, COPY, FP64, VERSIONS, node, write_gpu, write_nodes

CATALOGUE: Final = Catalogue([shipped_specs()])
PEERS: Final = [
    Cell(operation="peer_copy", version=1, input="fp32", output="fp32", elements=1 << 27, peer=peer, ways=1)
    for peer in (1, 2)
]


def found_in(folder: Path) -> Fleet:
    return fleet_of(fleet_paths([str(folder)]), CATALOGUE.chip)


def standing(fleet: Fleet, number: int, cell: Cell = BF16) -> Standing:
    (group,) = (group for group in fleet.groups if group.cell == cell)
    (found,) = (one for one in group.standings if one.entry.unit.number == number)
    return found


def outliers(fleet: Fleet) -> set[tuple[str, Cell]]:
    return {(one.entry.unit.label, group.cell) for group, one in fleet.outliers}


def signs(folder: Path, but: Mapping[str, Any], cell: Cell = BF16, **everywhere: Any) -> dict[str, Sign]:  # noqa: ANN401
    """Return by code what is said of GPU 3 of eight, of which only that one is unlike the others."""
    fleet = found_in(write_nodes(folder, "a", but={"a3": but}, **everywhere))
    (group,) = (group for group in fleet.groups if group.cell == cell)
    told = [(one.entry.unit.number, one.signs) for one in group.standings if one.signs]
    assert [number for number, _ in told] == [3]
    return {sign.code: sign for sign in told[0][1]}


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return found_in(write_nodes(tmp_path_factory.mktemp("fleet"), "ab", but=AILING))


class TestOutliers:
    def test_the_three_ailing_of_sixteen_are_told_in_the_cells_that_ail_and_nothing_else(
        self, two_nodes: Fleet
    ) -> None:
        hot, limited, slow = "GPU 3 of a0a0a0a0", "GPU 1 of b0b0b0b0", "GPU 6 of b0b0b0b0"
        products = {(name, cell) for name in (hot, limited, slow) for cell in (BF16, FP64)}
        assert outliers(two_nodes) == {*products, (slow, COPY)}

    def test_those_furthest_from_their_median_come_first(self, two_nodes: Fleet) -> None:
        distances = [one.distance for _, one in two_nodes.outliers]
        assert distances == sorted(distances, reverse=True)
        assert two_nodes.outliers[0][1].entry.unit.label == "GPU 3 of a0a0a0a0"

    def test_the_median_of_a_group_is_that_of_its_devices_and_holds_against_the_published_peak(
        self, two_nodes: Fleet
    ) -> None:
        group = two_nodes.groups[0]
        assert (len(group.standings), group.tested, group.how_many("slower")) == (16, True, 3)
        assert group.median is not None
        assert group.median.interval is not None
        assert group.median.interval.lo < 700e12 < group.median.interval.hi
        assert group.of_peak == pytest.approx(group.median.rate / 989.4e12, rel=1e-3)

    def test_fast_ones_are_outliers_too(self, tmp_path: Path) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", but={"a2": {"slow": {BF16: 0.85}}}))
        assert standing(fleet, 2).verdict == "faster"

    def test_what_is_within_the_run_to_run_difference_is_none_until_processes_show_it(
        self, tmp_path: Path
    ) -> None:
        but = {"a2": {"slow": {BF16: 1.027}}}
        once = found_in(write_nodes(tmp_path / "1", "ab", but=but))
        thrice = found_in(write_nodes(tmp_path / "3", "ab", but=but, processes=4, cells=(BF16,)))
        told = [standing_of(fleet, "a2") for fleet in (once, thrice)]
        assert [one.verdict for one in told] == ["in line", "slower"]
        assert told[0].limit == pytest.approx(0.03)
        bulk = thrice.groups[0].bulk
        assert bulk is not None
        assert told[1].limit == pytest.approx(math.expm1(bulk.reach or 0.0))

    def test_a_wide_interval_of_its_own_leaves_a_device_without_a_verdict(self, tmp_path: Path) -> None:
        wide = {"slow": {BF16: 1.06}, "noise": (1, 1.08, 0.93, 1.05, 0.95, 1.07, 0.94, 1.0)}
        fleet = found_in(write_nodes(tmp_path, "ab", but={"a2": wide}))
        assert (standing_of(fleet, "a2").verdict, standing_of(fleet, "a2").reason) == ("can't tell", "interval")

    @pytest.mark.parametrize(
        ("but", "reason"),
        [
            ({"noise": tuple(1 + 0.05 * (index % 2) for index in range(12))}, "bimodal"),
            ({"noise": tuple(1 + 0.01 * index for index in range(9))}, "autocorrelated"),
            ({"noise": (1.0, 1.1)}, "few_samples"),
            ({"codes": ("launch_bound",)}, "host_limited"),
        ],
    )
    def test_a_tainted_rate_is_shown_without_a_verdict_and_moves_no_median(
        self, tmp_path: Path, but: Mapping[str, Any], reason: str
    ) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", but={"a2": {"slow": {BF16: 1.5}, **but}}, cells=(BF16,)))
        found = standing(fleet, 2)
        assert (found.verdict, found.reason) == ("can't tell", reason)
        assert found.ratio is not None
        assert found.ratio.value < 0.7
        assert fleet.groups[0].bulk is not None
        assert fleet.groups[0].bulk.n == 7

    def test_of_fewer_than_five_there_is_no_test(self, tmp_path: Path) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", 4, but={"a2": {"slow": 2.0}}))
        assert {one.verdict for group in fleet.groups for one in group.standings} == {"no test"}
        assert standing(fleet, 2).ratio is not None
        assert fleet.outliers == []

    def test_untested_rates_one_of_which_the_host_limited_are_no_share_of_a_peak(self, tmp_path: Path) -> None:
        write_nodes(tmp_path, "a", 4, cells=(BF16,), but={"a1": {"codes": ("launch_bound",)}})
        assert found_in(tmp_path).groups[0].of_peak is None

    def test_chips_are_groups_of_their_own(self, tmp_path: Path) -> None:
        h200 = {"device": {"chip": "h200-sxm-141gb", "name": "NVIDIA H200"}, "slow": 0.7}
        unknown = {"device": {"chip": None, "name": "NVIDIA X"}}
        fleet = found_in(write_nodes(tmp_path, "a", 7, but={"a5": h200, "a6": unknown}, cells=(BF16,)))
        products = {group.product: len(group.standings) for group in fleet.groups}
        assert products == {"h100-sxm5-80gb": 5, "h200-sxm-141gb": 1, "NVIDIA X": 1}
        assert fleet.outliers == []

    def test_a_limit_is_the_larger_of_chance_and_runs(self) -> None:
        assert limit_of(0.01, "gpu", 1) == pytest.approx(0.03)
        assert limit_of(0.02, "gpu", 3) == pytest.approx(math.expm1(0.02))
        assert limit_of(0.002, "gpu", 3) > 15e6 / 1.98e9  # a step of the clock
        assert limit_of(0.0, "cpu", 3) == pytest.approx(0.05)

    @pytest.mark.parametrize(
        ("value", "lo", "hi", "verdict"),
        [(1.0, 0.91, 1.1, "in line"), (1.0, 0.9, 1.1, "can't tell"), (1.0, 0.95, 1.11, "can't tell"),
         (1.2, 1.06, 1.3, "faster"), (1.2, 1.04, 1.3, "can't tell"),
         (0.9, 0.85, 0.951, "slower"), (0.9, 0.85, 0.96, "can't tell")],
    )  # fmt: skip
    def test_only_a_whole_interval_beyond_the_limit_is_an_outlier_and_only_one_within_twice_it_is_in_line(
        self, value: float, lo: float, hi: float, verdict: str
    ) -> None:
        assert standing_at(value, Interval(lo, hi), 0.05) == verdict


def standing_of(fleet: Fleet, name: str) -> Standing:
    (found,) = (
        one
        for one in fleet.groups[0].standings
        if one.entry.unit.label == f"GPU {name[1:]} of {f'{name[0]}0' * 4}"
    )
    return found


class TestEvidence:
    def test_heat_that_slows_the_clock_is_said_with_its_numbers(self, tmp_path: Path) -> None:
        told = signs(tmp_path, AILING["a3"])
        assert {*told} == {"clock", "held_back", "temperature", "power", "only"}
        assert told["clock"].values["clock"] == pytest.approx(-0.2)
        assert told["clock"].values["cycles"] == pytest.approx(0.0, abs=0.02)
        assert told["held_back"].values == {"reason": "sw_thermal_slowdown", "share": 0.97, "usual": 0.0}
        assert told["only"].values == {"kind": "products"}

    def test_a_lowered_power_limit_is_said_once(self, tmp_path: Path) -> None:
        told = signs(tmp_path, AILING["b1"])
        assert {*told} == {"clock", "held_back", "named", "power", "only"}
        assert told["named"].values == {"name": "power_limit_w", "this": "500.0", "usual": "700.0"}

    def test_cycles_tell_that_it_is_not_the_clock_and_that_nothing_explains_it(self, tmp_path: Path) -> None:
        told = signs(tmp_path, AILING["b6"])
        assert {*told} == {"cycles"}
        assert told["cycles"].values["cycles"] == pytest.approx(0.09, abs=0.015)
        assert not explains(told.values())

    def test_a_clock_that_explains_half_of_it_says_so(self, tmp_path: Path) -> None:
        told = signs(tmp_path, {"slow": {BF16: 1.25}, "clock": 0.9})
        assert told["clock_partly"].values["clock"] == pytest.approx(-0.1)
        assert told["clock_partly"].values["cycles"] == pytest.approx(0.125, abs=0.02)

    def test_a_lower_clock_beside_a_higher_rate_explains_nothing(self, tmp_path: Path) -> None:
        assert "cycles" in signs(tmp_path, {"slow": {BF16: 0.85}, "clock": 0.95})

    @pytest.mark.parametrize(
        ("but", "values"),
        [
            ({"versions": {"driver": "570.1"}}, {"name": "driver", "this": "570.1", "usual": VERSIONS["driver"]}),
            ({"versions": {"cublaslt": "12.9"}}, {"name": "cublaslt", "this": "12.9", "usual": "13.1.0"}),
            ({"settings": {"ecc": "false"}}, {"name": "ecc", "this": "false", "usual": "true"}),
            ({"settings": {"new": "1"}}, {"name": "new", "this": "1", "usual": "not set"}),
            ({"header": {"tool": "0.6.0"}}, {"name": "chipbench", "this": "0.6.0", "usual": "0.7.0"}),
            (
                {"header": {"member": Member(fleet="f", index=0, of=8, at_once=8)}},
                {"name": "devices_at_once", "this": "8", "usual": "not set"},
            ),
        ],
    )
    def test_what_is_set_or_installed_unlike_most_is_named(
        self, tmp_path: Path, but: Mapping[str, Any], values: Mapping[str, str]
    ) -> None:
        assert signs(tmp_path, {"slow": 1.2, **but})["named"].values == values

    def test_a_warning_that_most_runs_have_is_none_of_it(self, tmp_path: Path) -> None:
        busy = Caveat(code="gpu_processes", values={"count": 2.0})
        everywhere = Caveat(code="ecc_off")
        but = {"slow": 1.2, "warnings": [everywhere, busy]}
        told = signs(tmp_path, but, warnings=[everywhere])
        assert told["warned"].values == {"warning": "gpu_processes", "count": 2.0}

    def test_another_algorithm_is_told_by_what_differs(self, tmp_path: Path) -> None:
        but = {"slow": 1.2, "algorithm": {"algo": 66, "tile": "64x64"}}
        told = signs(tmp_path, but, algorithm={"algo": 66, "tile": "128x128"})
        assert told["algorithm"].values == {"this": "tile 64x64", "usual": "tile 128x128"}

    def test_memory_that_alone_is_slow_is_told(self, tmp_path: Path) -> None:
        assert signs(tmp_path, {"slow": {COPY: 1.3}}, COPY)["only"].values == {"kind": "memory"}

    def test_a_link_that_alone_is_slow_is_told(self, tmp_path: Path) -> None:
        cells = (BF16, *PEERS)
        but = {"slow": {PEERS[0]: 1.5}, "cells": cells}
        folder = write_nodes(tmp_path, "abcde", 1, but={"c0": but}, cells=cells)
        ((group, one),) = found_in(folder).outliers
        assert (group.cell, one.signs) == (PEERS[0], (Sign("only", {"kind": "link"}),))

    def test_a_slow_device_that_draws_and_heats_like_others_has_no_such_sign(self, tmp_path: Path) -> None:
        assert {*signs(tmp_path, {"slow": 1.2, "celsius": 64.0, "watts": 671.0})} == {"cycles"}


class TestHosts:
    def test_a_host_whose_devices_are_all_slow_is_an_outlier_as_a_whole(self, tmp_path: Path) -> None:
        but = {name: {"slow": 1.12} for name in node("c", 2)}
        fleet = found_in(write_nodes(tmp_path, "abcdefg", 2, but=but, cells=(BF16,)))
        assert {one.label: one.verdict for one in fleet.hosts} == {
            f"host {f'{host}0' * 4}": "slower" if host == "c" else "in line" for host in "abcdefg"
        }

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_one_slow_device_makes_no_slow_host(self, tmp_path: Path, count: int) -> None:
        fleet = found_in(write_nodes(tmp_path, "abcde", count, but={"c1": {"slow": 1.2}}, cells=(BF16,)))
        assert {one.verdict for one in fleet.hosts} == {"in line"}
        assert len(fleet.outliers) == 1

    @pytest.mark.parametrize(("hosts", "count"), [("abcd", 2), ("abcdefg", 1)])
    def test_fewer_than_five_or_of_one_device_each_are_not_tested(
        self, tmp_path: Path, hosts: str, count: int
    ) -> None:
        assert found_in(write_nodes(tmp_path, hosts, count, cells=(BF16,))).hosts == ()


class TestWhatCounts:
    def test_a_device_that_was_measured_again_is_what_it_is_now(self, tmp_path: Path) -> None:
        write_nodes(tmp_path, "a", cells=(BF16,), but={"a1": {"slow": 1.3}})
        assert len(found_in(tmp_path).outliers) == 1
        write_gpu(tmp_path, "a1", cells=(BF16,), run="1")
        fleet = found_in(tmp_path)
        assert (fleet.outliers, fleet.left_out.older, len(fleet.units)) == ([], 1, 8)

    def test_of_a_cell_that_failed_since_the_older_rate_stands_and_the_failure_is_told(
        self, tmp_path: Path
    ) -> None:
        write_nodes(tmp_path, "a", cells=(BF16, FP64))
        write_gpu(tmp_path, "a1", cells=(BF16, FP64), run="1", failed=(BF16,))
        fleet = found_in(tmp_path)
        found = standing(fleet, 1)
        assert (found.verdict, found.entry.failed is not None) == ("in line", True)
        assert fleet.failed == [found]
        assert fleet.left_out.older == 0

    def test_a_cell_that_only_failed_has_no_rate(self, tmp_path: Path) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", cells=(BF16,), but={"a1": {"failed": (BF16,)}}))
        assert (standing(fleet, 1).verdict, standing(fleet, 1).ratio) == ("failed", None)
        assert fleet.groups[0].bulk is not None
        assert fleet.groups[0].bulk.n == 7

    def test_nothing_but_failures_is_a_fleet_without_rates(self, tmp_path: Path) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", 2, cells=(BF16,), failed=(BF16,)))
        assert not fleet.has_rates
        assert len(fleet.failed) == 2

    def test_a_run_one_of_whose_processes_failed_did_not_pass(self, tmp_path: Path) -> None:
        for index, failed in enumerate(((), (BF16,))):
            process = {"id": f"{index}", "process": Process(index=index, of=2, group="g")}
            write_gpu(tmp_path, "a0", cells=(BF16,), failed=failed, header=process)
        assert standing(found_in(tmp_path), 0).verdict == "failed"

    def test_processes_of_one_run_are_pooled(self, tmp_path: Path) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", 1, cells=(BF16,), processes=3))
        rate = standing(fleet, 0).entry.rate
        assert rate is not None
        assert rate.processes == 3

    def test_records_of_one_device_in_one_run_over_several_are_pooled(self, tmp_path: Path) -> None:
        for index in range(2):
            member = {"id": f"{index}", "member": Member(fleet="f", index=index, of=2, at_once=2)}
            write_gpu(tmp_path, "a0", cells=(BF16,), header=member)
        rate = standing(found_in(tmp_path), 0).entry.rate
        assert rate is not None
        assert rate.processes == 2

    def test_replayed_keyless_and_copied_records_are_left_out_and_counted(self, tmp_path: Path) -> None:
        write_nodes(tmp_path, "a", 3, cells=(BF16,))
        (path,) = write_gpu(tmp_path / "copy", "a1", cells=(BF16,))
        write_gpu(tmp_path, "a2", cells=(BF16,), run="2", origin="replayed")
        write_gpu(tmp_path, "a2", cells=(BF16,), run="3", device={"key": None}, complete=False)
        fleet = found_in(tmp_path)
        assert path.exists()
        assert fleet.left_out._asdict() == {
            "replayed": 1, "simulated": 0, "keyless": 1, "copies": 1, "older": 0, "interrupted": 0,
        }  # fmt: skip
        assert len(fleet.units) == 3

    def test_simulated_records_are_never_mixed_with_measured_ones(self, tmp_path: Path) -> None:
        write_nodes(tmp_path, "a", 2, cells=(BF16,))
        assert found_in(tmp_path).origin == "simulated"
        write_gpu(tmp_path, "b0", cells=(BF16,), origin="measured")
        fleet = found_in(tmp_path)
        assert (fleet.origin, len(fleet.units), fleet.left_out.simulated) == ("measured", 1, 2)

    def test_an_interrupted_record_counts_with_what_it_has(self, tmp_path: Path) -> None:
        write_nodes(tmp_path, "a", 2, cells=(BF16,), but={"a1": {"complete": False}})
        fleet = found_in(tmp_path)
        assert (len(fleet.groups[0].standings), fleet.left_out.interrupted) == (2, 1)

    def test_a_damaged_record_is_told_and_the_rest_counts(self, tmp_path: Path) -> None:
        write_nodes(tmp_path, "a", 3, cells=(BF16,))
        (tmp_path / "bad.jsonl").write_text("{}\n", encoding="utf-8")
        fleet = found_in(tmp_path)
        assert [str(error).startswith(str(tmp_path / "bad.jsonl")) for error in fleet.damaged] == [True]
        assert len(fleet.units) == 3

    def test_machines_are_named_or_told_by_as_much_of_their_key_as_it_takes(self, tmp_path: Path) -> None:
        named = {"device": {"host": "node-17", "host_key": None}}
        alike = [{"device": {"host_key": f"1234567812345{number}"}} for number in range(2)]
        none = {"device": {"host_key": None, "index": None}}
        write_nodes(tmp_path / "1", "a", 3, cells=(BF16,), but={"a0": named, "a1": none, "a2": alike[0]})
        assert [unit.label for unit in found_in(tmp_path / "1").units] == [
            "device 61015a3c5a3c5a3c", "GPU 2 of 12345678", "GPU 0 of node-17",
        ]  # fmt: skip
        write_gpu(tmp_path / "3", "a0", device={"host": "node-17"})
        write_gpu(tmp_path / "3", "a1")
        assert [unit.label for unit in found_in(tmp_path / "3").units] == ["GPU 0 of node-17", "GPU 1 of node-17"]
        write_nodes(tmp_path / "2", "a", 2, cells=(BF16,), but={"a0": alike[0], "a1": alike[1]})
        assert [unit.host for unit in found_in(tmp_path / "2").units] == ["12345678123450", "12345678123451"]


class TestPaths:
    def test_files_and_folders_are_taken_once(self, tmp_path: Path) -> None:
        folder = write_nodes(tmp_path / "r", "a", 2, cells=(BF16,))
        file = min(folder.iterdir())
        assert fleet_paths([str(folder), str(file)]) == sorted(folder.iterdir())

    @pytest.mark.parametrize("name", ["latest", "h100-sxm5-80gb", "published:h20", "", " "])
    def test_what_is_no_path_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidRequest, match="--fleet takes those of records"):
            fleet_paths([name])

    def test_an_empty_folder_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(RecordError, match="no record here"):
            fleet_paths([str(tmp_path)])


def test_two_processes_read_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_nodes(tmp_path, "a", 6, but={"a1": {"slow": 1.3, "failed": (COPY,)}})
    whole = found_in(folder)

    def halves(work: Any, paths: Sequence[Path]) -> list[Any]:  # noqa: ANN401 - as `by_chunks`
        return [_sent(work(paths[:3])), _sent(work(paths[3:]))]

    monkeypatch.setattr("bench.analysis.fleet_units.by_chunks", halves)
    assert found_in(folder) == whole


def _sent(value: Any) -> Any:  # noqa: ANN401 - whatever a process sends back
    return pickle.loads(pickle.dumps(value))
