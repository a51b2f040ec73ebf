"""How fast the devices of a machine copy to each other: measured rates as matrices, one a machine and way.

A rate is in bytes that cross the link per second, each counted once. What is published of NVLink is the total of
both ways, so a copy both ways at once is held against that figure, and a copy one way against half of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.analysis.compare import Kind, Side
from bench.analysis.estimates import LAUNCH_BOUND, NO_ACCESS, Estimate, published_peak
from bench.analysis.fleet import Fleet
from bench.analysis.fleet_units import Entry
from bench.analysis.roofline import is_usual
from bench.devices.base import Origin
from bench.errors import RecordError
from bench.published.chips import Chip
from bench.workloads.base import LINK, PEER_COPY, USUAL, Cell, Load

_REPLACED: Final = "as another device has been in their device's place since"


class Link(NamedTuple):
    """What one device copies to another of its machine, or both to each other if `ways` is 2.

    `source` and `target` are their indices, `host` is what the machine is called; `chip` is the source's, where
    known. `elements` are the FP32 numbers of an array.
    """

    host: str
    source: int
    target: int
    ways: int
    rate: Estimate
    chip: Chip | None
    caveats: frozenset[str] = frozenset()
    kind: Kind = "measured"
    load: Load = "alone"
    elements: int = 0

    @property
    def published(self) -> float | None:
        """What the source's NVLink could carry this many ways by its sheet, in bytes per second."""
        total = None if self.chip is None else published_peak(self.chip, LINK)
        return None if total is None else total.rate * self.ways / 2

    @property
    def share(self) -> float | None:
        """The rate as a share of that; None of what went through the host's memory, which is no link's rate."""
        return None if self.published is None or NO_ACCESS in self.caveats else self.rate.rate / self.published


class Found(NamedTuple):
    """The links of a fleet; `left_out` counts the copies that are none, by the reason why."""

    links: tuple[Link, ...]
    left_out: Mapping[str, int]


NO_LINKS: Final = Found((), MappingProxyType({}))


class Asymmetry(NamedTuple):
    """The pair whose two directions differ most: `fast` and `slow` are those, `ratio` one over the other."""

    fast: Link
    slow: Link

    @property
    def ratio(self) -> float:
        """The faster direction's rate over the other's."""
        return self.fast.rate.rate / self.slow.rate.rate


class Matrix(NamedTuple):
    """All that was measured on one machine, `ways` ways: `links[i][j]` is from `indices[i]` to `indices[j]`.

    None stands for what has no rate.
    """

    host: str
    kind: Kind
    load: Load
    ways: int
    indices: tuple[int, ...]
    links: tuple[tuple[Link | None, ...], ...]

    @property
    def measured(self) -> list[Link]:
        """Those that were measured."""
        return [link for row in self.links for link in row if link is not None]

    @property
    def rates(self) -> list[list[Estimate | None]]:
        """The rates, as `links` has them."""
        return [[link and link.rate for link in row] for row in self.links]

    @property
    def published(self) -> float | None:
        """What all these links could carry by the sheet, in bytes per second; None if it is not one for all."""
        figures = {link.published for link in self.measured}
        return figures.pop() if len(figures) == 1 else None

    @property
    def has_shares(self) -> bool:
        """Whether one of them at least has a share of a published figure."""
        return any(link.share is not None for link in self.measured)

    @property
    def slowest(self) -> Link:
        """The link of the lowest rate."""
        return min(self.measured, key=lambda link: link.rate.rate)

    @property
    def fastest(self) -> Link:
        """The link of the highest rate."""
        return max(self.measured, key=lambda link: link.rate.rate)

    @property
    def asymmetry(self) -> Asymmetry | None:
        """The pair whose directions differ most; None if no pair was measured from both ends."""
        by_pair = {(link.source, link.target): link for link in self.measured}
        both = [
            Asymmetry(*sorted(ends, key=lambda link: -link.rate.rate))
            for pair in combinations(self.indices, 2)
            if len(ends := [by_pair[ordered] for ordered in (pair, pair[::-1]) if ordered in by_pair]) == 2
        ]
        return max(both, key=lambda one: one.ratio, default=None)

    @property
    def without_access(self) -> list[Link]:
        """Those whose copies went through the host's memory."""
        return [link for link in self.measured if NO_ACCESS in link.caveats]

    @property
    def missing(self) -> int:
        """How many of the pairs, each direction for itself, have no rate."""
        return len(self.indices) * (len(self.indices) - 1) - len(self.measured)


def links_of(fleet: Fleet) -> Found:
    """Return what all the peer copies of a fleet show, each of the newest run in which it passed.

    Of several cells of a pair the largest arrays count, and of these the steady load; of several devices that had
    one place, that of the latest record.
    """
    left: Counter[str] = Counter()
    copies = [(group, one.entry) for group in fleet.groups if group.is_of_links for one in group.standings]
    latest: dict[tuple[str | None, int | None], Entry] = {}
    for _, entry in sorted(copies, key=lambda pair: pair[1].taken):
        latest[entry.unit.host, entry.unit.number] = entry
    by_place: dict[tuple[str, Load, int, int, int], dict[Cell, Link]] = {}
    for group, entry in copies:
        link = _link(entry, group.chip, fleet.origin)
        if isinstance(link, str):
            left[link] += 1
        elif latest[entry.unit.host, entry.unit.number].unit != entry.unit:
            left[_REPLACED] += 1
        else:
            place = (link.host, link.load, link.ways, link.source, link.target)
            by_place.setdefault(place, {})[group.cell] = link
    links = []
    for cells in by_place.values():
        chosen = max(cells, key=lambda cell: (cell.elements or 0, cell.regime == USUAL["regime"]))
        left["as another size or load of the same pair is shown"] += len(cells) - 1
        links.append(cells[chosen])
    return Found(tuple(links), +left)


def _link(entry: Entry, chip: Chip | None, kind: Origin) -> Link | str:
    """Return one copy, or why it has no place in a matrix."""
    unit, cell, rate = entry.unit, entry.cell, entry.rate
    if unit.number is None or unit.host is None or cell.peer is None:
        return "as it is not recorded which devices of which machine they are of"
    if rate is None:
        return "as they failed or did not pass their check"
    if LAUNCH_BOUND in rate.caveats:
        return "as the host limited them"
    if not is_usual(cell):
        return "as their data were not normal"
    return Link(
        host=unit.host,
        source=unit.number,
        target=cell.peer,
        ways=cell.ways or 1,
        rate=rate,
        chip=chip,
        caveats=rate.caveats,
        kind=kind,
        load=cell.load or "alone",
        elements=cell.elements or 0,
    )


def check_more_than_links(sides: Iterable[Side]) -> None:
    """Raise RecordError if all that was measured of one of some sides are copies between devices."""
    for side in sides:
        cells = [*side.estimates, *side.failed] if side.is_measured else []
        if cells and all(cell.operation == PEER_COPY for cell in cells):
            message = (
                f"{side.label}: there is nothing in it but copies between GPUs, which are of a link, not of the "
                "chip; 'chipbench compare FOLDER --fleet' and 'chipbench plot links' show those"
            )
            raise RecordError(message)


def matrices(links: Iterable[Link]) -> list[Matrix]:
    """Return the links as matrices: those of a machine together, one way before both, alone before together."""
    by_matrix: dict[tuple[str, Kind, Load, int], list[Link]] = {}
    for link in links:
        by_matrix.setdefault((link.host, link.kind, link.load, link.ways), []).append(link)
    return [_matrix(by_matrix[key]) for key in sorted(by_matrix)]


def _matrix(links: Sequence[Link]) -> Matrix:
    by_pair = {(link.source, link.target): link for link in links}
    indices = tuple(sorted({index for pair in by_pair for index in pair}))
    rows = tuple(tuple(by_pair.get((source, target)) for target in indices) for source in indices)
    first = links[0]
    return Matrix(first.host, first.kind, first.load, first.ways, indices, rows)
