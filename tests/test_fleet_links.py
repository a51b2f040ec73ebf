"""Copies between devices in a fleet: whom they are held against, where they are shown, and whose they are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.analysis.fleet import Fleet, fleet_of
from bench.analysis.fleet_units import fleet_paths
from bench.analysis.links import links_of
from bench.report.fleet import fleet_view
from bench.report.view import View
from bench.workloads import p2p
from tests.command import chipbench
from tests.fleet_lab import BF16, write_gpu
from tests.test_fleet import CATALOGUE, found_in
from tests.test_links import copied, copy, fleet, record

LINK: Final = 400e9  # bytes per second and way of the lab's copies


def alike(_source: int, _target: int) -> float:
    return 380e9


def two_sockets(source: int, target: int) -> float:
    return 50e9 if source // 2 == target // 2 else 40e9


def worn(source: int, target: int) -> float:
    return two_sockets(source, target) / (2 if (source, target) == (2, 1) else 1)


def slow(_source: int, _target: int) -> float:
    return 95e9


def node(
    folder: Path,
    host: str,
    rate: Callable[[int, int], float] = alike,
    *,
    count: int = 4,
    also: Sequence[Any] = (),
    **more: Any,  # noqa: ANN401
) -> Path:
    """Write the records of a machine whose devices copy to each other so fast, in bytes per second, each way."""
    for own in range(count):
        cells = p2p.cells([peer for peer in range(count) if peer != own], 1 << 27, library="memcpy_peer")
        times = {one: LINK / rate(own, one.peer or 0) / (one.ways or 1) for one in cells}
        write_gpu(folder, f"{host}{own}", cells=(*also, *cells), slow=times, **more)
    return folder


def view(folder: Path) -> View:
    found = found_in(folder)
    return fleet_view(found, links=links_of(found))


class TestGroups:
    def test_pairs_that_are_further_from_each_other_are_no_outliers(self, tmp_path: Path) -> None:
        found = found_in(node(tmp_path, "a", two_sockets, count=8))
        assert found.outliers == []
        assert {one.verdict for group in found.groups for one in group.standings} == {"no test"}

    def test_a_copy_is_held_against_the_same_pair_of_other_machines(self, tmp_path: Path) -> None:
        for host in "abcdef":
            node(tmp_path, host, two_sockets if host != "c" else worn)
        told = [
            (one.entry.unit.label, group.cell.peer, group.cell.ways) for group, one in found_in(tmp_path).outliers
        ]
        assert sorted(told) == [("GPU 2 of c0c0c0c0", 1, 1), ("GPU 2 of c0c0c0c0", 1, 2)]

    def test_where_matrices_show_them_no_other_table_does(self, tmp_path: Path) -> None:
        found = view(node(tmp_path, "a", also=(BF16,)))
        tables = {section.title: section for section in found.sections}
        assert len(tables["By chip and cell"].rows) == 1
        assert len(tables["Devices"].rows) == 4
        assert len(tables["Copies one way, simulated, machine a0a0a0a0"].rows) == 4
        assert len(found.records) == 4 * (1 + 6)

    def test_a_fleet_of_nothing_but_copies_has_their_matrices_only(self, tmp_path: Path) -> None:
        titles = [section.title.split(",")[0] for section in view(node(tmp_path, "a")).sections]
        assert titles == ["Outliers", "Copies one way", "Copies both ways at once"]

    def test_a_copy_that_failed_is_told_beside_them(self, tmp_path: Path) -> None:
        wrong = p2p.cells([1], 1 << 27, library="memcpy_peer")[:1]
        node(tmp_path, "a", count=3, failed=wrong)
        found = view(tmp_path)
        (failed,) = (section for section in found.sections if section.title == "Failed")
        assert len(failed.rows) == 2
        assert any("failed or did not pass their check: 2 copies" in note for note in found.notes)
        matrix = next(section for section in found.sections if section.title.startswith("Copies one way"))
        assert "no rate of 2 of 6 directions" in matrix.notes

    def test_where_none_can_be_shown_as_a_matrix_the_tables_have_them(self, tmp_path: Path) -> None:
        found = view(node(tmp_path, "a", count=2, device={"host_key": None}))
        assert [section.title for section in found.sections] == ["By chip and cell", "Devices", "Outliers"]
        assert any("it is not recorded which devices" in note for note in found.notes)

    def test_whoever_asks_for_outliers_is_told_that_copies_are_not_tested(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        node(Path("r"), "a", count=2)
        answer = chipbench("compare", "r", "--fleet", "--fail-on", "outlier")
        assert answer.code == 0
        assert answer.err == "no test: 4 copies between devices (fewer than 5 machines with the same pair)\n"


class TestThroughTheHost:
    def test_they_are_shown_without_a_share_and_judged_nowhere(self, tmp_path: Path) -> None:
        found = found_in(node(tmp_path, "a", count=2, codes=["no_peer_access"]))
        assert {one.reason for group in found.groups for one in group.standings} == {"host_limited"}
        assert {group.of_peak for group in found.groups} == {None}
        sections = fleet_view(found, links=links_of(found)).sections
        matrix = next(section for section in sections if section.title.startswith("Copies both ways"))
        assert matrix.rows[0][2].endswith(" GB/s (host)")
        notes = " ".join(matrix.notes)
        assert "the share is" not in notes
        assert "is published" not in notes

    def test_no_command_holds_them_against_the_sheet(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        cells = p2p.cells([1], 1 << 27, library="memcpy_peer")
        (path,) = write_gpu(Path("r"), "a0", cells=cells, codes=["no_peer_access"], origin="measured")
        answer = chipbench("compare", path, "h100")
        assert answer.code == 0
        assert "host-limited of 900 GB/s" in answer.text


class TestMachines:
    def test_machines_of_one_name_are_told_apart(self, tmp_path: Path) -> None:
        for host, rate in (("a", alike), ("b", slow)):
            node(tmp_path, host, rate, count=2, device={"host": "localhost"})
        links = links_of(found_in(tmp_path)).links
        assert {(link.host, link.rate.rate / link.ways > 200e9) for link in links} == {
            ("localhost (a0a0a0a0)", True), ("localhost (b0b0b0b0)", False),
        }  # fmt: skip
        assert len(links) == 8

    def test_a_name_that_one_machine_has_is_its_name(self, tmp_path: Path) -> None:
        write_gpu(tmp_path, "a0", cells=(BF16,), device={"host": "localhost"})
        write_gpu(tmp_path, "b0", cells=(BF16,), device={"host": "localhost"})
        write_gpu(tmp_path, "c0", cells=(BF16,), device={"host": "node-3"})
        write_gpu(tmp_path, "d0", cells=(BF16,))
        names = {unit.host for unit in found_in(tmp_path).units}
        assert names == {"localhost (a0a0a0a0)", "localhost (b0b0b0b0)", "node-3", "d0d0d0d0"}

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_of_devices_that_had_one_place_the_latest_is_in_the_matrix(self, *, newest_first: bool) -> None:
        old = record(2, [copied(copy(5, elements=1 << 29), 100e9), copied(copy(6), 100e9)], ident="1")
        new = record(2, [copied(copy(5), 380e9)], ident="2", started="2026-02-02T00:00:00Z")
        device = new.header.device
        replaced = new._replace(header=_with(new.header, device=_with(device, key="ffff")))
        found = links_of(fleet([replaced, old] if newest_first else [old, replaced]))
        (link,) = found.links
        assert link.target == 5
        assert link.rate.rate == pytest.approx(380e9)
        assert found.left_out == {"as another device has been in their device's place since": 2}

    def test_a_device_that_came_back_to_its_place_is_in_the_matrix_again(self) -> None:
        first, last = (
            record(2, [copied(copy(5), rate)], ident=f"{month}", started=f"2026-0{month}-02T00:00:00Z")
            for month, rate in ((2, 100e9), (4, 200e9))
        )
        other = record(2, [copied(copy(5), 380e9)], ident="3", started="2026-03-02T00:00:00Z")
        between = other._replace(header=_with(other.header, device=_with(other.header.device, key="ffff")))
        (link,) = links_of(fleet([first, between, last])).links
        assert link.rate.rate == pytest.approx(200e9)

    def test_devices_that_had_one_place_have_each_a_name(self, tmp_path: Path) -> None:
        write_gpu(tmp_path, "a2", cells=(BF16,))
        write_gpu(tmp_path, "a2", cells=(BF16,), run="2", device={"key": "ffff"})
        write_gpu(tmp_path, "a3", cells=(BF16,))
        found = found_in(tmp_path)
        assert sorted(unit.label for unit in found.units) == [
            "GPU 2 of a0a0a0a0 (61025a3c5a3c5a3c)", "GPU 2 of a0a0a0a0 (ffff)", "GPU 3 of a0a0a0a0",
        ]  # fmt: skip
        assert len({case.name for case in fleet_view(found).cases}) == 3

    def test_one_device_under_two_chips_has_a_test_case_for_each(self, tmp_path: Path) -> None:
        write_gpu(tmp_path, "a2", cells=(BF16,))
        write_gpu(tmp_path, "a2", cells=(BF16,), run="2", device={"chip": None})
        found: Fleet = fleet_of(fleet_paths([str(tmp_path)]), CATALOGUE.chip)
        assert len({case.name for case in fleet_view(found).cases}) == 2


def _with(struct: Any, **changed: Any) -> Any:  # noqa: ANN401
    return msgspec.structs.replace(struct, **changed)


def test_a_matrix_says_where_to_look_for_pairs_without_a_link(tmp_path: Path) -> None:
    notes = " ".join(note for section in view(node(tmp_path, "a", two_sockets)).sections for note in section.notes)
    assert "the share is of 450 GB/s" in notes
    assert "a pair without NVLink between it copies over PCIe: see 'nvidia-smi topo -m'" in notes
