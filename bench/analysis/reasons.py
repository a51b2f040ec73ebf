"""The sentence that says why a verdict is what it is, with the numbers that decide it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from bench.analysis.design import Design, Span
from bench.analysis.evaluation import Leaf, RuleAnswer
from bench.published.conditions import FLAGS, QUANTITIES, Comparison, Flag, MetBy, NamedChip, Relation, Unsettled
from bench.units import number

# How a comparison reads when it is met, and when it is not.
_SIGNS: Final[Mapping[Relation, tuple[str, str]]] = MappingProxyType(
    {"at_least": ("≥", "<"), "more_than": (">", "≤"), "at_most": ("≤", ">"), "below": ("<", "≥")}
)
_QUESTIONS: Final = MappingProxyType(
    {
        "reading": "what counts as I/O",
        "data_centre": "whether it is designed or marketed for data centres",
        "hbm": "whether it has HBM",
        "equivalent": "what counts as an equivalent",
        "ends": "whether the ends of the range count",
        "unsettled": "what the rule's text does not say",
    }
)
# What a question's answer reads like where it is True, and where it is False.
_ANSWERS: Final = MappingProxyType(
    {"data_centre": ("if so", "if not"), "hbm": ("if so", "if not"), "ends": ("if they do", "if not")}
    | {"unsettled": ("at worst", "at best")}
)
_NAMES: Final = MappingProxyType({"nvlink": "NVLink", "pcie": "PCIe"})
TOO_MANY: Final = "too many of the figures that it looks at are open"
_EITHER_WAY: Final = "whatever the open figures are"


def plain_reason(said: RuleAnswer, settled: Callable[[Leaf], bool]) -> str:
    """Return why a rule is met or not: the comparisons that decide, after the paragraph in which they stand.

    What is not `settled`, as it holds in this world only, is left out.
    """
    texts = list(dict.fromkeys(leaf_text(leaf, settled) for leaf in said.answer.leaves if settled(leaf)))
    if said.outcome is not None:
        name = [said.outcome] if len({branch.name for branch in said.branches}) > 1 or not texts else []
        return ": ".join([*name, *([", ".join(texts)] if texts else [])])
    looked_at = all(answer.met for answer in said.applies)
    nearest = [branch.name for branch in said.branches if branch.answer.gap == said.answer.gap]
    if looked_at and len(said.branches) > 1 and said.answer.gap is not None:
        return f"nearest is {nearest[0]}: {' and '.join(texts)}"
    return " and ".join(texts) or _EITHER_WAY


def leaf_text(leaf: Leaf, settled: Callable[[Leaf], bool]) -> str:
    """Return one comparison or question with its answer: 'TPP 2368 < 2400'."""
    match leaf.condition:
        case Flag(flag=flag, wanted=wanted):
            return FLAGS[flag] if leaf.met == wanted else f"not {FLAGS[flag]}"
        case NamedChip():
            return "it names this chip" if leaf.met else "it does not name this chip"
        case Unsettled(what=what):
            return what
        case MetBy() as other:
            return _other_rule(other, leaf, settled)
        case Comparison() as comparison:
            return _comparison_text(comparison, leaf)


def _comparison_text(comparison: Comparison, leaf: Leaf) -> str:
    name, unit = QUANTITIES[comparison.quantity]
    if leaf.gap is None:
        return f"it has no {name}"
    value, threshold = number(leaf.gap.value, leaf.gap.threshold), number(comparison.threshold)
    if comparison.most is not None:
        where = "within" if leaf.met else "not within"
        return f"{name} {value} {where} {threshold} to {number(comparison.most)} {unit}".rstrip()
    sign = _SIGNS[comparison.relation][0 if leaf.met else 1]
    return f"{name} {value} {sign} {threshold} {unit}".rstrip()


def _other_rule(condition: MetBy, leaf: Leaf, settled: Callable[[Leaf], bool]) -> str:
    if leaf.met:
        return f"{leaf.outcome} of {condition.rule} is met"
    if leaf.outcome is not None:
        return f"{condition.rule} is met by {leaf.outcome}, not by {condition.outcome}"
    what = f"{condition.outcome} of {condition.rule}" if condition.outcome else condition.rule
    why = " and ".join(leaf_text(inner, settled) for inner in leaf.because if settled(inner))
    return f"{what} is not met{f' ({why})' if why else ''}"


def either_way(question: str, answers: Mapping[Any, RuleAnswer], settled: Callable[[Leaf], bool]) -> str:
    """Return how the verdict depends on a question that the published text or figures leave open."""
    if question == "equivalent":
        return "it does not name this chip, and what counts as an equivalent was not published"
    parts = []
    for answer, said in answers.items():
        label = str(answer) if question == "reading" else _ANSWERS[question][0 if answer else 1]
        verdict = "met" if said.answer.met else "not met"
        parts.append(f"{label}: {verdict}, {plain_reason(said, settled)}")
    return f"{depends_on(question)}: {'; '.join(parts)}"


def question_text(question: str) -> str:
    """Return what an open question asks."""
    return _QUESTIONS[question]


def depends_on(question: str) -> str:
    """Return that the verdict depends on an open question."""
    return f"depends on {_QUESTIONS[question]}"


def unpublished_reason(design: Design, quantities: Sequence[str], missing: Sequence[str]) -> str:
    """Return which figures would have to be known, and what is known without them."""
    known = [
        f"{QUANTITIES[name].label} is at least {number(span.low)} {QUANTITIES[name].unit}".rstrip()
        for name in quantities
        if (span := _span(design, name)) is not None and span.low > 0
    ]
    names = ", ".join(missing_name(name) for name in missing)
    return "; ".join([*known, f"not {'given' if design.id is None else 'published'}: {names}"])


def missing_name(name: str) -> str:
    """Return a figure's name for a sentence: FP16, die area, NVLink."""
    plain = _NAMES.get(name, name.replace("_", " "))
    return plain.upper() if any(letter.isdigit() for letter in plain) else plain


def _span(design: Design, quantity: str) -> Span | None:
    return design.quantities(design.io[0].span)[quantity]


def no_paragraph(day: date) -> str:
    """Return why a rule is not met on a day on which none of its paragraphs holds."""
    return f"no paragraph of it holds on {day}"


def not_followed(known_until: date, day: date) -> str:
    """Return why nothing is said of a day."""
    return f"the rules were followed until {known_until}; what held on {day} is not known here"
