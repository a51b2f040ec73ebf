"""The first chapter: the answer in three sentences, of what was cut, of the rule, and of what was measured."""

from collections.abc import Sequence

from bench.analysis.compare import Side, own_efficiency
from bench.analysis.estimates import Estimate
from bench.analysis.explain import Compared, compared
from bench.analysis.export_rule import Verdict
from bench.analysis.standing import Standing, standing
from bench.errors import InvalidRequest
from bench.published.chips import Chip
from bench.report.chapters.base import Chapter
from bench.report.chapters.common import cited, headline, short_names
from bench.report.chapters.rule import rule_map
from bench.report.columns import KINDS, ends_text, published_text
from bench.report.explained_numbers import performance_text
from bench.report.explained_sources import References
from bench.report.material import Material
from bench.report.plots.layout import listed
from bench.report.plots.names import FIRST_CHOICE, device_of, format_text, unbound
from bench.report.view import capital, percent, significant
from bench.units import DTYPES, Dtype, format_si
from bench.workloads.base import Cell


def chapter(material: Material, references: References) -> Chapter:
    """Return the answer: what is left of the chip, why it may or may not be exported, what it really does."""
    sentences = [_cut(material, references), _rule(material), _measured(material, references)]
    return Chapter(
        name="answer",
        title="The answer",
        lead=sentences,
        document={"sentences": sentences},
    )


def _dtype(chips: Sequence[Chip]) -> Dtype | None:
    """Return the format that the answer speaks of: BF16 if all chips have it, else the fastest of the first."""
    known = {
        name: rate for name in DTYPES if all(one.number(name) for one in chips) and (rate := chips[0].number(name))
    }
    name = FIRST_CHOICE if FIRST_CHOICE in known else max(known, key=lambda name: known[name], default=None)
    return None if name is None else DTYPES[name]


def _cut(material: Material, references: References) -> str:
    """Say what the chip has of the one that it was cut from, or of the first beside it."""
    chip, *others = material.chips
    if not others:
        return _alone(chip, references)
    other = next((one for one in others if one.id == chip.cut_from), others[0])
    names = short_names([chip, other])
    rows = {row.name: row for row in compared(chip, other)}
    told = [(rows[name], words) for name, words in _figures([chip, other]) if name in rows]
    parts = [part for row, words in told if (part := _part(row, words, references))]
    if not parts:
        return f"Nothing is published of the {names[chip.id]} that could be held against the {names[other.id]}."
    return f"By what is published the {names[chip.id]} has {listed(parts)} of the {names[other.id]}."


def _figures(chips: Sequence[Chip]) -> list[tuple[str, str]]:
    """Return the figures that the answer speaks of, and what they are called."""
    dtype = _dtype(chips)
    rate = [(dtype.name, f"{format_text(dtype)} rate")] if dtype else []
    return [*rate, ("memory_bandwidth", "memory bandwidth"), ("nvlink", "NVLink")]


def _alone(chip: Chip, references: References) -> str:
    """Say what is published of a chip that stands beside no other."""
    known = [(words, chip.figures[name]) for name, words in _figures([chip]) if chip.number(name)]
    if not known:
        return f"Nothing is published of the {chip.name}."
    parts = [f"{words} {cited(figure, references)}" for words, figure in known]
    return f"What is published of the {chip.name}: {listed(parts)}; no other chip stands beside it here."


def _part(row: Compared, words: str, references: References) -> str | None:
    if row.own is None or row.whole is None or row.ratio is None:
        return None
    ratio = float(row.ratio)
    much = {"cut": f"{percent(ratio)} of", "kept": "all of", "more": f"{significant(ratio, 3)} times"}[row.change]
    return f"{much} the {words} ({cited(row.own, references)} against {cited(row.whole, references)})"


def _rule(material: Material) -> str:
    """Say where the chip lies beside the rule's lines, and what covers it as far as the rules are known."""
    day = material.book.known_until
    covered = _covered(standing(material.story.design, material.book, day))
    return f"{_place(material)}; {covered} (rules known up to {day})."


def _place(material: Material) -> str:
    try:
        return unbound(rule_map(material).title)
    except InvalidRequest:
        return performance_text(material.story.design).rstrip(".")


def _covered(one: Standing) -> str:
    published = [verdict for verdict in one.met if verdict.rule.grade != "reported"]
    doubtful = [verdict.rule.id for verdict in one.unknown if verdict.rule.grade != "reported"]
    unknown = f"whether {listed(doubtful, 'or')} covers it is unknown" if doubtful else ""
    if published:
        return f"it is covered by {_since(published)}"
    if one.met:
        return f"{unknown or 'no rule that was published covers it'}, but {_since(one.met)} does"
    return unknown or "no rule that was published covers it"


def _since(verdicts: Sequence[Verdict]) -> str:
    return listed([f"{v.rule.id} (since {v.rule.effective}{_doubt(v.rule.grade)})" for v in verdicts])


def _doubt(grade: str) -> str:
    return "; reported, not published" if grade == "reported" else ""


def _measured(material: Material, references: References) -> str:
    """Say what share of its published peak each device reached, and what others measured of the chip."""
    sides = [*material.sides]
    others = material.by_others(material.chip)
    if others is not None and all(side.chip != material.chip for side in sides):
        sides.insert(0, others)
    parts = [part for side in sides if (part := _reached(side, material, references))]
    if not parts and material.sides:
        failed = sum(len(side.failed) for side in material.sides)
        more = f" ({failed} cells failed their check)" if failed else ""
        return f"None of what was measured here is a product with a rate{more}."
    if not parts:
        return "Nothing was measured here, and nobody's measurements of it are known."
    return f"{capital('; '.join(parts))}."


def _reached(side: Side, material: Material, references: References) -> str | None:
    best = headline(side)
    if best is None:
        return None
    cell, rate = best
    text = f"{KINDS[side.kind]}, {cell.label} on the {device_of(side)} ran at {_rate(cell, rate, references)}"
    own = own_efficiency(cell, side, rate)
    if own is not None:
        held = f" and {percent(own.at_clock)} of the peak at the clock it held" if own.at_clock else ""
        text += f", {percent(own.at_spec)} of its published peak{held}"
    return text + _of_others(cell, side, material, references)


def _of_others(cell: Cell, side: Side, material: Material, references: References) -> str:
    """Return what others measured of the same product on the same chip, in brackets."""
    others = material.by_others(side.chip) if side.is_measured else None
    if others is None:
        return ""
    rate = others.estimate(cell)
    own = own_efficiency(cell, others, rate)
    if rate is None or rate.published is None or own is None:
        return ""
    return f" (measured by others: {_rate(cell, rate, references)}, {percent(own.at_spec)})"


def _rate(cell: Cell, rate: Estimate, references: References) -> str:
    if rate.published is not None:
        return f"{published_text(rate.published)} {references.number(rate.published.source)}"
    text = format_si(rate.rate, cell.rate_label)
    if rate.interval is None:
        return text
    return f"{text} (95 % interval {ends_text(rate.interval, cell.rate_label, 3)})"
