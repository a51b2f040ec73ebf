"""Where each chip lies on the map of an export rule: markers that several may share, and the list of all."""

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from bench.analysis.design import Span
from bench.analysis.explain import Story
from bench.analysis.export_rule import Verdict
from bench.analysis.rule_lines import DENSITY, TPP, Mapped
from bench.analysis.worlds import die_area
from bench.published.rules import Rule
from bench.report.plots.names import without_maker
from bench.units import number

Market = Literal["data centre", "other", "open"]
_SAME: Final = math.log(1.03)  # chips that differ by less share a marker
# Characters for which the list has room: of a name and TPP together, likewise bold ones, and of a paragraph.
_LONGEST, _BOLDEST, _PARAGRAPH = 38, 32, 10


class Located(NamedTuple):
    """A chip that has a place: its story, its name in the picture, its performance density."""

    story: Story
    name: str
    density: Span
    highlighted: bool

    @property
    def tpp(self) -> Span:
        """Its total processing performance."""
        return self.story.design.tpp

    @property
    def at(self) -> tuple[float, float]:
        """Where it lies, in TPP and in TPP per mm2."""
        return float(self.tpp.low), float(self.density.low)

    @property
    def area(self) -> Fraction | None:
        """Its die area in mm2."""
        return die_area(self.story.design)

    @property
    def market(self) -> Market:
        """Whether it is designed for data centres."""
        asked = self.story.design.data_centre
        return "open" if len(asked) > 1 else "data centre" if asked == (True,) else "other"


class Entry(NamedTuple):
    """A chip in the list, with the number of its marker, None without one; `paragraph` is what it meets."""

    number: int | None
    name: str
    tpp: str
    density: str
    paragraph: str
    highlighted: bool


class Place(NamedTuple):
    """A marker and the chips that share it, of which the highlighted ones come first.

    `bound`: of one of them the numbers are lower bounds.
    """

    number: int
    at: tuple[float, float]
    chips: Sequence[Located]

    @property
    def highlighted(self) -> Sequence[Located]:
        """Those of its chips that stand out."""
        return [chip for chip in self.chips if chip.highlighted]

    @property
    def markets(self) -> Sequence[Market]:
        """What its chips are designed for, each once."""
        return [*dict.fromkeys(chip.market for chip in self.chips)]

    @property
    def bound(self) -> bool:
        """Whether the numbers of one of its chips are lower bounds."""
        return not all(chip.tpp.exact for chip in self.chips)


def names_by_label(stories: Sequence[Story]) -> dict[str, str]:
    """Return what each chip is called in the picture, by the label of its design."""
    full = [story.chip.name if story.chip else story.design.label for story in stories]
    return dict(zip([story.design.label for story in stories], without_maker(full), strict=True))


def located(stories: Sequence[Story], highlighted: Collection[str]) -> list[Located]:
    """Return the chips of which TPP and performance density are known, if only as lower bounds."""
    names = names_by_label(stories)
    return [
        Located(story, names[story.design.label], story.design.density, story.design.id in highlighted)
        for story in stories
        if story.design.density is not None and why_nowhere(story) is None
    ]


def why_nowhere(story: Story) -> str | None:
    """Return why a chip has no place; None if it has one."""
    design = story.design
    if design.density is not None and design.density.low > 0:
        return None
    if design.tpp.low == 0:
        return "TPP 0" if design.tpp.exact else "TPP unknown"
    bound = "" if design.tpp.exact else "at least "
    lacking = "no applicable die area" if design.density is None else "die area unknown"
    return f"TPP {bound}{number(design.tpp.low)}, {lacking}"


def places_of(chips: Sequence[Located], mapped: Mapped) -> list[Place]:
    """Return the markers from left to right, numbered from 1; no chips on two sides of a threshold share one."""
    groups: list[list[Located]] = []
    for chip in sorted(chips, key=lambda chip: chip.at):
        same = [group for group in groups if _alike(group[0], chip, mapped)]
        if same:
            same[0].append(chip)
        else:
            groups.append([chip])
    ordered = [sorted(group, key=lambda chip: not chip.highlighted) for group in groups]
    return [Place(index, group[0].at, group) for index, group in enumerate(ordered, start=1)]


def _alike(one: Located, other: Located, mapped: Mapped) -> bool:
    near = all(abs(math.log(a / b)) < _SAME for a, b in zip(one.at, other.at, strict=True))
    return near and _cell(one, mapped) == _cell(other, mapped)


def _cell(chip: Located, mapped: Mapped) -> tuple[int, int]:
    """Return how many thresholds a chip has reached on each axis."""
    values = ((TPP, chip.tpp), (DENSITY, chip.density))
    first, second = (bisect_right(mapped.thresholds(quantity), span.low) for quantity, span in values)
    return first, second


def entries_of(
    places: Sequence[Place], stories: Sequence[Story], highlighted: Collection[str], rule: Rule
) -> list[Entry]:
    """Return the list of all chips: in the order of their numbers, and after them those without a place."""
    names = names_by_label(stories)
    numbered = [(place.number, chip.story) for place in places for chip in place.chips]
    found = []
    for index, story in (*numbered, *((None, story) for story in stories if why_nowhere(story))):
        name, bold, tpp = names[story.design.label], story.design.id in highlighted, _known(story.design.tpp)
        found.append(
            Entry(
                number=index,
                name=_begun(name, (_BOLDEST if bold else _LONGEST) - len(tpp)),
                tpp=tpp,
                density=_known(story.design.density),
                paragraph=_paragraph(verdict_by(rule, story)),
                highlighted=bold,
            )
        )
    return found


def _known(span: Span | None) -> str:
    """Return what is known of a number: nothing of a lower bound of 0, and without a number a dash."""
    if span is None:
        return "–"
    if span.low == 0 and not span.exact:
        return "?"
    return f"{'' if span.exact else '≥ '}{number(span.low)}"


def _begun(text: str, most: int) -> str:
    """Return a text of at most so many characters: of a longer one the beginning."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def verdict_by(rule: Rule, story: Story) -> Verdict:
    """Return what a rule makes of a chip."""
    return next(verdict for verdict in story.verdicts if verdict.rule.id == rule.id)


def _paragraph(verdict: Verdict) -> str:
    if verdict.met is None:
        return "unknown"
    return _begun(verdict.outcome or "met", _PARAGRAPH) if verdict.met else "none"
