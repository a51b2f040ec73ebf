"""Links from records: what is a link, how they become matrices, and what the tables say of them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.analysis import fleet_units
from bench.analysis.fleet import Fleet
from bench.analysis.fleet import _found as found_in
from bench.analysis.links import Found, Link, Matrix, links_of, matrices
from bench.devices.base import Caveat, Device
from bench.measure.measurement import Measurement
from bench.published.chips import Catalogue, Chip
from bench.published.source import shipped_specs
from bench.records.record import Lines, Record, record_of
from bench.report.links import link_records, link_sections
from bench.workloads import p2p
from bench.workloads.base import Cell
from tests.support import FAILED, cell, header, measurement

CATALOGUE: Final = Catalogue([shipped_specs()])
H100: Final = "h100-sxm5-80gb"
HOST: Final = "a1b2c3d4e5f60718"
_IDS: Final = itertools.count()


def chip_of(name: str) -> Chip | None:
    return CATALOGUE.chip(name) if name in CATALOGUE.ids else None


def copied(of: Cell, rate: float, *, codes: Sequence[str] = (), failed: bool = False) -> Measurement:
    """Return the measurement of a copy at this rate, with an interval of 0.1 % about it."""
    seconds = [of.bytes_moved / rate * factor for factor in (1.0, 0.999, 1.001) * 3]
    made = measurement(of, seconds, check=FAILED) if failed else measurement(of, seconds)
    return msgspec.structs.replace(made, warnings=tuple(Caveat(code=code, values={"peer": 1}) for code in codes))


def record(
    index: int | None,
    measured: Sequence[Measurement],
    *,
    host: str | None = HOST,
    chip: str | None = H100,
    **more: Any,  # noqa: ANN401
) -> Record:
    """Return a record of the device of this index."""
    device = Device(
        kind="gpu", name="a GPU", folder="gpus", chip=chip, key=f"{index} of {host}", index=index, host_key=host,
        host=more.pop("name", None),
    )  # fmt: skip
    plain = header([one.cell for one in measured], ident=more.pop("ident", f"{next(_IDS):08x}"))
    head = msgspec.structs.replace(plain, device=device, **more)
    return record_of(Path("a.jsonl"), Lines(head, tuple(measured), 0, None, 0))


def copy(peer: int, ways: int = 1, elements: int = p2p.ELEMENTS, **more: Any) -> Cell:  # noqa: ANN401
    made = p2p.cells([peer], elements, library="memcpy_peer")[ways - 1]
    return msgspec.structs.replace(made, **more)


def one_way(count: int = 4, rate: float = 390e9, **odd: float) -> list[Record]:
    """Return records of so many devices that each copy to all others; `odd` are other rates, as p3_1=200e9."""
    return [
        record(i, [copied(copy(j), odd.get(f"p{i}_{j}", rate)) for j in range(count) if j != i])
        for i in range(count)
    ]


def fleet(records: Sequence[Record]) -> Fleet:
    """Return the fleet that these records are of."""
    reader = fleet_units._Reader()
    return found_in(fleet_units._sorted_out([reader.sheet(one) for one in records]), chip_of)


def matrix(records: Sequence[Record]) -> Matrix:
    (made,) = matrices(links_of(fleet(records)).links)
    return made


class TestLinks:
    def test_a_link_is_from_the_record_s_device_to_the_cell_s_peer(self) -> None:
        (link,) = links_of(fleet([record(2, [copied(copy(5), 300e9)])])).links
        assert (link.host, link.source, link.target, link.ways, link.kind) == (HOST[:8], 2, 5, 1, "measured")
        assert link.rate.rate == pytest.approx(300e9)
        assert link.chip is not None
        assert link.elements == p2p.ELEMENTS

    def test_one_way_is_held_against_half_of_what_is_published_and_both_against_all(self) -> None:
        measured = [copied(copy(5, ways), 360e9 * ways) for ways in (1, 2)]
        links = links_of(fleet([record(2, measured)])).links
        assert [(link.ways, link.published) for link in links] == [(1, 450e9), (2, 900e9)]
        assert [link.share for link in links] == [pytest.approx(0.8)] * 2

    def test_what_went_through_the_host_is_a_share_of_nothing(self) -> None:
        (link,) = links_of(fleet([record(2, [copied(copy(5), 20e9, codes=["no_peer_access"])])])).links
        assert link.share is None

    @pytest.mark.parametrize(
        ("made", "reason"),
        [
            (lambda: record(None, [copied(copy(5), 1e9)]), "not recorded which devices"),
            (lambda: record(2, [copied(copy(5), 1e9)], host=None), "not recorded which devices"),
            (lambda: record(2, [copied(copy(5), 1e9, failed=True)]), "did not pass their check"),
            (lambda: record(2, [copied(copy(5), 1e9, codes=["launch_bound"])]), "the host limited them"),
            (lambda: record(2, [copied(copy(5, data="zeros"), 1e9)]), "data were not normal"),
        ],
    )
    def test_what_has_no_place_is_counted_with_the_reason(self, made: Any, reason: str) -> None:  # noqa: ANN401
        found = links_of(fleet([made()]))
        assert found.links == ()
        ((said, count),) = found.left_out.items()
        assert reason in said
        assert count == 1

    def test_products_are_no_copies_and_are_not_counted(self) -> None:
        assert links_of(fleet([record(2, [measurement(cell(64))])])) == Found((), found_none())

    def test_of_several_runs_the_newest_counts(self) -> None:
        twice = record(2, [copied(copy(5), 100e9)], ident="1")
        other = record(2, [copied(copy(5), 121e9)], ident="2", started="2026-02-02T00:00:00Z")
        (link,) = links_of(fleet([twice, twice, other])).links
        assert link.rate.rate == pytest.approx(121e9)
        assert link.rate.processes == 1

    def test_of_several_sizes_the_largest_counts_and_of_several_loads_the_steady_one(self) -> None:
        cells = [copy(5, elements=1 << 20), copy(5, regime="sustained:60"), copy(5)]
        measured = [copied(one, rate) for one, rate in zip(cells, (1e9, 3e9, 2e9), strict=True)]
        found = links_of(fleet([record(2, measured)]))
        assert [link.rate.rate for link in found.links] == [pytest.approx(2e9)]
        assert [*found.left_out.values()] == [2]

    def test_a_machine_is_called_by_its_name_where_that_is_recorded(self) -> None:
        records = [
            record(0, [copied(copy(1), 1e9)], name="node1"),
            record(0, [copied(copy(1), 1e9)], host="abcdefgh1"),
        ]
        assert {link.host for link in links_of(fleet(records)).links} == {"node1", "abcdefgh"}
        alike = [record(0, [copied(copy(1), 1e9)], host=f"abcdefgh{number}") for number in (1, 2)]
        assert {link.host for link in links_of(fleet(alike)).links} == {"abcdefgh1", "abcdefgh2"}


def found_none() -> Any:  # noqa: ANN401 - an empty Counter
    return links_of(fleet([])).left_out


class TestMatrix:
    def test_rows_are_from_whom_and_columns_to_whom(self) -> None:
        made = matrix([record(2, [copied(copy(7), 1e9)]), record(7, [copied(copy(2), 2e9)])])
        assert made.indices == (2, 7)
        rates = [[rate and rate.rate for rate in row] for row in made.rates]
        assert rates == [[None, pytest.approx(1e9)], [pytest.approx(2e9), None]]
        assert made.missing == 0

    def test_what_was_not_measured_is_counted_by_direction(self) -> None:
        made = matrix([record(2, [copied(copy(peer), 1e9) for peer in (3, 4)])])
        assert (made.indices, made.missing, len(made.measured)) == ((2, 3, 4), 4, 2)

    def test_the_slowest_and_the_fastest_are_found(self) -> None:
        made = matrix(one_way(p3_1=200e9, p0_2=400e9))
        assert (made.slowest.source, made.slowest.target) == (3, 1)
        assert (made.fastest.source, made.fastest.target) == (0, 2)

    def test_the_pair_whose_directions_differ_most_is_found(self) -> None:
        for slow, fast, ends in (("p3_1", (1, 3), 3), ("p1_3", (3, 1), 1)):
            found = matrix(one_way(4, p0_2=350e9, **{slow: 200e9})).asymmetry
            assert found is not None
            assert (found.fast.source, found.fast.target, found.slow.source) == (*fast, ends)
            assert found.ratio == pytest.approx(1.95)

    def test_without_both_directions_of_a_pair_nothing_is_said_of_them(self) -> None:
        assert matrix([record(0, [copied(copy(1), 1e9)])]).asymmetry is None

    def test_pairs_without_access_are_told(self) -> None:
        made = matrix([record(0, [copied(copy(1), 2e9), copied(copy(2), 1e9, codes=["no_peer_access"])])])
        assert [(link.source, link.target) for link in made.without_access] == [(0, 2)]

    def test_machines_ways_and_loads_are_never_mixed(self) -> None:
        records = [
            record(0, [copied(copy(1, ways), 1e9) for ways in (1, 2)]),
            record(0, [copied(copy(1), 1e9)], host="other"),
            record(0, [copied(copy(1, load="together"), 1e9)]),
        ]
        made = matrices(links_of(fleet(records)).links)
        keys = [(one.host, one.kind, one.load, one.ways) for one in made]
        assert len(keys) == len({*keys}) == 4
        assert keys == sorted(keys)

    def test_it_has_one_published_figure_only_if_all_its_links_have_that(self) -> None:
        assert matrix(one_way(2)).published == 450e9
        mixed = [record(0, [copied(copy(1), 1e9)]), record(1, [copied(copy(0), 1e9)], chip="a100-pcie-40gb")]
        assert matrix(mixed).published is None
        assert matrix([record(0, [copied(copy(1), 1e9)], chip=None)]).published is None


class TestSections:
    def test_a_table_has_every_rate_with_its_share_and_says_what_is_counted(self) -> None:
        (section,) = link_sections([matrix(one_way(3, p2_0=180e9))])
        assert section.title == "Copies one way, measured here, machine a1b2c3d4"
        assert [column.head for column in section.columns] == ["from", "to 0", "to 1", "to 2"]
        assert [*section.rows[2]] == ["2", "180 GB/s, 40.0 %", "390 GB/s, 86.7 %", "–"]
        text = "; ".join(section.notes)
        assert "every byte that crosses the link counts once" in text
        assert "450 GB/s, half of the published NVLink figure of both ways" in text
        assert "what is published is the total of both ways" in text
        assert "slowest: 2 to 0, 180 GB/s" in text
        assert "0 to 2 is 2.17 times as fast as 2 to 0" in text
        assert len(section.records) == 6

    def test_directions_that_hardly_differ_are_told_by_how_much(self) -> None:
        (section,) = link_sections([matrix(one_way(2, p1_0=386e9))])
        assert "the directions of a pair differ by 1.0 % at most" in section.notes

    def test_copies_at_the_same_time_and_of_several_sizes_are_told_to_be(self) -> None:
        both = [copied(copy(1, load="together"), 1e9), copied(copy(2, elements=1 << 20, load="together"), 1e9)]
        (section,) = link_sections([matrix([record(0, both)])])
        assert section.title == "Copies one way, all devices at once, measured here, machine a1b2c3d4"
        assert "arrays of several sizes, as not all fit the memory that was free" in section.notes
        assert [row["elements"] for row in section.records] == [p2p.ELEMENTS, 1 << 20]

    def test_devices_that_nothing_was_measured_from_have_no_row(self) -> None:
        (section,) = link_sections([matrix([record(1, [copied(copy(peer), 1e9) for peer in (0, 2)])])])
        assert [row[0] for row in section.rows] == ["1"]
        assert "no rate of 4 of 6 directions" in section.notes

    def test_without_a_published_figure_there_is_no_share_and_that_is_said(self) -> None:
        (section,) = link_sections([matrix([record(0, [copied(copy(1), 1e9)], chip=None)])])
        assert section.rows[0][2] == "1.00 GB/s"
        assert any("no NVLink figure" in note for note in section.notes)

    def test_copies_through_the_host_are_marked_in_words(self) -> None:
        measured = [copied(copy(1), 20e9, codes=["no_peer_access"]), copied(copy(2), 390e9)]
        (section,) = link_sections([matrix([record(0, measured)])])
        assert section.rows[0][2] == "20.0 GB/s (host)"
        assert [row["warnings"] for row in section.records] == ["no_peer_access", ""]
        assert any(note.startswith("(host): through the host's memory") for note in section.notes)

    def test_a_row_for_programs_is_in_base_units(self) -> None:
        made = matrices(links_of(fleet([record(2, [copied(copy(5, 2), 720e9)])])).links)
        (row,) = link_records(made)
        assert row["rate"] == pytest.approx(720e9)
        assert row["share"] == pytest.approx(0.8)
        expected = {"host": HOST[:8], "kind": "measured", "ways": 2, "source": 2, "target": 5, "published": 900e9}
        assert expected.items() <= row.items()
        assert (row["unit"], row["peer_access"], row["chip"]) == ("byte_per_s", True, H100)


def test_a_link_needs_no_record() -> None:
    """Whoever has rates may make matrices of them."""
    rate = links_of(fleet(one_way(2))).links[0].rate
    (made,) = matrices([Link("m", 0, 1, 1, rate, None), Link("m", 1, 0, 1, rate, None)])
    assert made.indices == (0, 1)
