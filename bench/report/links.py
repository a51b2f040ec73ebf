"""What devices copy to each other, as tables: one matrix a machine and way, from whom down, to whom across."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from bench.analysis.estimates import NO_ACCESS
from bench.analysis.links import Link, Matrix
from bench.report.columns import KINDS, rate_columns
from bench.report.view import Column, Section, Texts, few, percent, section_of, significant
from bench.units import format_si

COUNTED: Final = "every byte that crosses the link counts once"
STAGED: Final = "host"  # beside the rate of copies that went through the host's memory
NOTABLE: Final = 1.05  # times by which the directions of a pair differ notably
WAYS: Final = MappingProxyType({1: "one way", 2: "both ways at once"})
_MOST_NAMED: Final = 4
_UNIT: Final = "B/s"


def link_sections(matrices: Sequence[Matrix]) -> list[Section]:
    """Return one table a matrix."""
    return [_section(one) for one in matrices]


def title_of(one: Matrix) -> str:
    """Return what a matrix is of: 'Copies one way, measured here, machine 0a1b2c3d'."""
    load = "" if one.load == "alone" else ", all devices at once"
    return f"Copies {WAYS[one.ways]}{load}, {KINDS[one.kind]}, machine {one.host}"


def link_records(matrices: Sequence[Matrix]) -> list[dict[str, Any]]:
    """Return one row a link, as CSV and JSON have it, in base units."""
    return [_record(link) for one in matrices for link in one.measured]


def published_text(one: Matrix) -> str | None:
    """Return the published figure that a whole matrix is held against: '900 GB/s, the published NVLink figure'."""
    if one.published is None:
        return None
    figure = "the published NVLink figure" if one.ways == 2 else "half of the published NVLink figure of both ways"
    return f"{rate_text(one.published)}, {figure}"


def rate_text(rate: float) -> str:
    """Return a rate of bytes with three digits: '389 GB/s'."""
    return format_si(rate, _UNIT, digits=3)


def pair_text(link: Link) -> str:
    """Return which devices a link is between: '3 to 5', or '3 with 5'."""
    return f"{link.source} {'with' if link.ways == 2 else 'to'} {link.target}"


def left_out_notes(left_out: Mapping[str, int]) -> list[str]:
    """Say how many copies of the records are in no matrix, and why."""
    return [f"left out, {reason}: {count} cop{'ies' if count > 1 else 'y'}" for reason, count in left_out.items()]


def _section(one: Matrix) -> Section:
    rows = [(index, row) for index, row in zip(one.indices, one.links, strict=True) if any(row)]
    columns: list[Texts] = [(Column("from"), [str(index) for index, _ in rows])]
    for place, index in enumerate(one.indices):
        columns.append((Column(f"to {index}", "right"), [_cell(row[place]) for _, row in rows]))
    made = section_of(title_of(one), columns, [*_notes(one)])
    return made._replace(records=link_records([one]))


def _cell(link: Link | None) -> str:
    if link is None:
        return "–"
    more = f", {percent(link.share)}" if link.share is not None else ""
    return f"{rate_text(link.rate.rate)}{more}{f' ({STAGED})' if NO_ACCESS in link.caveats else ''}"


def _notes(one: Matrix) -> Iterator[str]:
    both = ", in both directions together" if one.ways == 2 else ""
    yield f"{COUNTED}{both}; devices by their index, as 'chipbench devices' counts"
    yield from _held_against(one)
    yield f"slowest: {pair_text(one.slowest)}, {rate_text(one.slowest.rate.rate)}"
    yield from asymmetry_notes(one)
    yield from _staged(one)
    sizes = {link.elements for link in one.measured}
    if len(sizes) > 1:
        yield "arrays of several sizes, as not all fit the memory that was free"
    if one.missing:
        yield f"no rate of {one.missing} of {one.missing + len(one.measured)} directions"


def _held_against(one: Matrix) -> Iterator[str]:
    text = published_text(one)
    if one.has_shares:
        own = "each device's own published NVLink figure: of half of it one way, of all both ways"
        whole = f"{text}; what is published is the total of both ways"
        yield f"the share is of {own if text is None else whole}"
        yield "a pair without NVLink between it copies over PCIe: see 'nvidia-smi topo -m'"
    elif not any(link.published for link in one.measured):
        yield "no NVLink figure of these devices is published, so that there is no share of it"


def asymmetry_notes(one: Matrix) -> Iterator[str]:
    """Yield of the pair whose directions differ most by how much they do, if that is notable."""
    found = one.asymmetry
    if found is None:
        return
    if found.ratio < NOTABLE:
        yield f"the directions of a pair differ by {percent(found.ratio - 1, 2)} at most"
        return
    yield (
        f"{pair_text(found.fast)} is {significant(found.ratio, 3)} times as fast as {pair_text(found.slow)}: look "
        "at 'nvidia-smi nvlink -s' of both"
    )


def _staged(one: Matrix) -> Iterator[str]:
    staged = one.without_access
    if staged:
        pairs = few([pair_text(link) for link in staged], _MOST_NAMED)
        yield (
            f"({STAGED}): through the host's memory, as the two cannot access each other's: {pairs}; see "
            "'nvidia-smi topo -p2p r'"
        )


def _record(link: Link) -> dict[str, Any]:
    return {
        "host": link.host,
        "kind": link.kind,
        "load": link.load,
        "ways": link.ways,
        "source": link.source,
        "target": link.target,
        "elements": link.elements,
        "chip": link.chip.id if link.chip else None,
        **rate_columns(link.rate),
        "unit": "byte_per_s",
        "published": link.published,
        "share": link.share,
        "peer_access": NO_ACCESS not in link.caveats,
        "warnings": " ".join(sorted(link.caveats)),
    }
