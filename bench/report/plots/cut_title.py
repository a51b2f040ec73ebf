"""The titles of the pictures of a cut: what is left of the figures that people ask for first."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bench.report.plots.layout import MOST_TITLE, listed
from bench.report.plots.names import bound
from bench.report.view import capital, significant

_NAMED: Final = 3  # others that a title names


class Amount(NamedTuple):
    """How many times another chip's figure it is; `change` is 'cut', 'kept' or 'more'."""

    ratio: float
    change: str

    @property
    def times(self) -> str:
        """The ratio with three digits, two below 1, but for zeros at the end."""
        digits = 3 if self.ratio > 1 else 2
        return "1" if self.change == "kept" else f"{float(significant(self.ratio, digits)):,.10g}"

    @property
    def percent(self) -> str:
        """The ratio in per cent, with two digits below 100."""
        return "100" if self.change == "kept" else significant(100 * self.ratio, 2)


class Headline(NamedTuple):
    """A figure that a title tells, 'BF16 rate', with its amount beside each other chip that has it too."""

    noun: str
    amounts: Sequence[Amount]


def title_of(chip: str, others: Sequence[str], headlines: Sequence[Headline], *, cut: bool) -> str:
    """Return what a chip has of the figures in `headlines`; `cut` if it was cut from the only other.

    A headline of fewer amounts than there are others is told for those that have it.
    """
    who, beside = bound(f"the {chip}"), [bound(f"the {other}") for other in others]
    if len(others) == 1:
        single = [(line.noun, line.amounts[0]) for line in headlines]
        return _cut(who, beside[0], single) if cut else _beside(who, beside[0], single)
    whole = all(len(line.amounts) == len(others) for line in headlines)
    fewer = [headlines, [headlines[0], headlines[-1]], headlines[:1]] if whole and len(others) <= _NAMED else []
    for some in fewer:
        title = f"Beside {listed(beside)} {who} has {listed([_of_each(line) for line in some])}"
        if len(title) <= MOST_TITLE:
            return title
    within = listed([_within(line) for line in headlines])
    return f"Beside {len(others)} other chips {who} has {within}{'' if whole else ', where both published it'}"


def _cut(who: str, other: str, found: Sequence[tuple[str, Amount]]) -> str:
    kept = [(noun, amount) for noun, amount in found if amount.change != "more"]
    more = [(noun, amount) for noun, amount in found if amount.change == "more"]
    parts: list[str] = []
    owners = _owners(other)
    for verb, some in (("keeps", kept), ("has", more)):
        if some:
            parts.append(f"{verb} {listed([_part(amount, next(owners), noun) for noun, amount in some])}")
    return f"{capital(who)} {', and '.join(parts)}"


def _owners(other: str) -> Iterator[str]:
    """Yield whose a figure is: named once, 'its' from then on."""
    yield f"{other}'s"
    while True:
        yield "its"


def _part(amount: Amount, owner: str, noun: str) -> str:
    if amount.change == "kept":
        return f"all of {owner} {noun}"
    if amount.change == "more":
        return f"{amount.times} times {owner} {noun}"
    return f"{bound(f'{amount.percent} %')} of {owner} {noun}"


def _beside(who: str, other: str, found: Sequence[tuple[str, Amount]]) -> str:
    parts = [
        f"the same {noun}" if amount.change == "kept" else _part(amount, "the", noun) for noun, amount in found
    ]
    return f"Beside {other} {who} has {listed(parts)}"


def _of_each(line: Headline) -> str:
    """Return a headline with the amount beside each other: '15, 15 and 47 % of the BF16 rate'."""
    texts = _texts(line)
    unit = _unit(line)
    if all(amount.change == "kept" for amount in line.amounts):
        return f"the same {line.noun}"
    if len({*texts}) == 1:
        return f"{texts[0]}{unit} the {line.noun} of each"
    return f"{listed(texts)}{unit} the {line.noun}"


def _within(line: Headline) -> str:
    """Return a headline with its least and its highest amount: '15 to 47 % of the BF16 rate'."""
    in_order = line._replace(amounts=sorted(line.amounts))
    texts = [*dict.fromkeys(_texts(in_order))]
    ends = texts[0] if len(texts) == 1 else bound(f"{texts[0]} to {texts[-1]}")
    return f"{ends}{_unit(line)} the {line.noun}"


def _texts(line: Headline) -> list[str]:
    return [amount.times if _in_times(line) else amount.percent for amount in line.amounts]


def _unit(line: Headline) -> str:
    return bound(" times") if _in_times(line) else f"{bound(' %')} of"


def _in_times(line: Headline) -> bool:
    return any(amount.change == "more" for amount in line.amounts)
