"""What the picture of copies between devices shows, as plain data: a panel a machine and way, each a heat map."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bench.analysis.estimates import NO_ACCESS
from bench.analysis.links import Found, Link, Matrix, matrices
from bench.errors import RecordError
from bench.report.columns import KINDS
from bench.report.links import (
    COUNTED,
    STAGED,
    WAYS,
    asymmetry_notes,
    left_out_notes,
    pair_text,
    rate_text,
)
from bench.report.plots.layout import MOST_TITLE, listed, shortened
from bench.report.plots.names import bound, unbound
from bench.report.view import capital, percent, significant

_MOST_PANELS: Final = 12
_GIGA: Final = 1e9
_LETTERS: Final = 20  # of a machine's name above its panel
_STEP: Final = 0.25  # of the scale, from one tick to the next


class Field(NamedTuple):
    """One copy: where it stands, its rate in GB/s as text, its `shade` as a share of the scale, from 0 to 1.

    `under` stands below the rate: how it went, if not over a link. The slowest of its panel has a frame.
    """

    row: int
    column: int
    text: str
    under: str
    shade: float
    framed: bool


class Panel(NamedTuple):
    """One heat map: its title, whom its rows are from and its columns to, and what was measured."""

    title: str
    rows: Sequence[int]
    columns: Sequence[int]
    fields: Sequence[Field]


class Scale(NamedTuple):
    """What shades mean: shares from 0 to `high` of what `title` says."""

    high: float
    title: str

    @property
    def ticks(self) -> list[float]:
        """The shares that are marked."""
        return [step * _STEP for step in range(int(self.high / _STEP) + 1)]


class LinksPicture(NamedTuple):
    """All that is drawn."""

    title: str
    alt: str
    panels: Sequence[Panel]
    scale: Scale
    notes: Sequence[str]


def picture_of(found: Found) -> LinksPicture:
    """Return the picture of some links. Raises RecordError if there are none."""
    all_of_them = matrices(found.links)
    if not all_of_them:
        raise _nothing(found.left_out)
    shown = all_of_them[:_MOST_PANELS]
    sheet = all(link.published for one in shown for link in one.measured) and any(one.has_shares for one in shown)
    shares = {id(link): _share(link, one, sheet=sheet) for one in shown for link in one.measured}
    high = max(1.0, *shares.values())
    scale = Scale(high, "of the published NVLink figure" if sheet else "of the fastest of its panel")
    title = _title(shown, sheet=sheet)
    return LinksPicture(
        title=title,
        alt=unbound(
            f"Heat map{'s' if len(shown) > 1 else ''} of rates in GB/s, from whom down, to whom across. {title}."
        ),
        panels=[_panel(one, _panel_title(one, shown), shares, high) for one in shown],
        scale=scale,
        notes=[*_notes(shown, found.left_out, sheet=sheet, more=len(all_of_them) - len(shown))],
    )


def _nothing(left_out: Mapping[str, int]) -> RecordError:
    advice = "'chipbench run --workload p2p' measures them, on a machine of several GPUs"
    if not left_out:
        return RecordError(f"there is no copy between two GPUs in these records; {advice}")
    return RecordError(
        f"no copy between two GPUs in these records can be drawn: {'; '.join(left_out_notes(left_out))}"
    )


def _share(link: Link, one: Matrix, *, sheet: bool) -> float:
    """Return a rate as a share of the published figure, or where there is none of the panel's fastest."""
    most = link.published if sheet and link.published else one.fastest.rate.rate
    return link.rate.rate / most


def _panel(one: Matrix, title: str, shares: dict[int, float], high: float) -> Panel:
    rows = [index for index, row in zip(one.indices, one.links, strict=True) if any(row)]
    fields = [
        Field(
            row=rows.index(link.source),
            column=one.indices.index(link.target),
            text=significant(link.rate.rate / _GIGA, 3),
            under=STAGED if NO_ACCESS in link.caveats else "",
            shade=shares[id(link)] / high,
            framed=link is one.slowest,
        )
        for link in one.measured
    ]
    return Panel(title, rows, one.indices, fields)


def _panel_title(one: Matrix, shown: Sequence[Matrix]) -> str:
    """Return what a panel is of: its machine and who measured it only where that is not one for all."""
    several = len({other.host for other in shown}) > 1, len({other.kind for other in shown}) > 1
    half = "half of " if one.ways == 1 else ""
    figure = one.published and rate_text(one.published * 2 / one.ways)
    published = f", against {half}{figure} published" if figure and one.has_shares else ""
    host = f", machine {shortened(one.host, _LETTERS)}" if several[0] else ""
    return f"{_what(one)}{published}{host}{f', {KINDS[one.kind]}' if several[1] else ''}"


def _what(one: Matrix) -> str:
    return f"{capital(WAYS[one.ways])}{'' if one.load == 'alone' else ', all at once'}"


def _title(shown: Sequence[Matrix], *, sheet: bool) -> str:
    """Return the finding: the slowest pairs, and how near the fastest come to the sheet."""
    hosts = {one.host for one in shown}
    kinds = listed([*dict.fromkeys(KINDS[one.kind] for one in shown)])
    devices = len({(one.host, index) for one in shown for index in one.indices})
    where = f" of {len(hosts)} machines" if len(hosts) > 1 else ""
    slowest = [_slowest([one for one in shown if one.ways == ways], len(hosts) > 1) for ways in WAYS]
    start = f"Copies between {devices} GPUs{where}, {kinds}: slowest {', '.join(text for text in slowest if text)}"
    shares = [link.share for one in shown for link in one.measured if link.share is not None]
    best = f"; the fastest reach {percent(max(shares))} of the published NVLink figure" if sheet and shares else ""
    title = start + best if len(start + best) <= MOST_TITLE else start
    return title.replace(" GB/s", bound(" GB/s")).replace(" %", bound(" %"))


def _slowest(some: Sequence[Matrix], several: bool) -> str:  # noqa: FBT001 - of one caller
    if not some:
        return ""
    one = min(some, key=lambda matrix: matrix.slowest.rate.rate)
    where = f" of machine {shortened(one.host, _LETTERS)}" if several else ""
    link = one.slowest
    how = f" ({STAGED})" if NO_ACCESS in link.caveats else ""
    return f"{WAYS[one.ways]} {pair_text(link)}{where} at {rate_text(link.rate.rate)}{how}"


def _notes(shown: Sequence[Matrix], left_out: Mapping[str, int], *, sheet: bool, more: int) -> Iterator[str]:
    hosts = listed([*dict.fromkeys(one.host for one in shown)])
    yield (
        f"GB/s; {COUNTED}. Devices are told by their index, as 'chipbench devices' counts, of machine {hosts}. "
        "Framed: the slowest."
    )
    yield _shades(shown, sheet=sheet)
    for one in shown:
        notes = [*asymmetry_notes(one)]
        if one.missing:
            notes.append(f"{one.missing} of {one.missing + len(one.measured)} directions have no rate")
        if notes:
            yield f"{_panel_title(one, shown)}: {'; '.join(notes)}."
    if any(one.without_access for one in shown):
        yield (
            f"'{STAGED}': through the host's memory, as the two cannot access each other's; see 'nvidia-smi topo "
            "-p2p r'."
        )
    yield from (f"{capital(note)}." for note in left_out_notes(left_out))
    if more:
        yield f"Not drawn: {more} more panel{'s' if more > 1 else ''}; name the records of fewer machines."


def _shades(shown: Sequence[Matrix], *, sheet: bool) -> str:
    """Say what the shades are shares of, and why."""
    if sheet:
        return (
            "The published NVLink figure is the total of both ways: copies both ways at once are held against it, "
            "copies one way against half of it. 'chipbench chips CHIP --sources' lists the sources. A pair "
            "without NVLink between it copies over PCIe: see 'nvidia-smi topo -m'."
        )
    links = [link for one in shown for link in one.measured]
    if not any(link.published for link in links):
        why = "No NVLink figure of these devices is published"
    elif any(link.share is not None for link in links):
        why = "Not all of these devices have a published NVLink figure"
    else:
        why = "None of these copies went over a link"
    return f"{why}: shades are by the fastest of each panel."
