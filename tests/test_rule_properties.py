"""Properties of the export rules' arithmetic, and its agreement with the rules written down a second time."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.design import Design, Reading, Span, design_of, exactly, imagined, unpublished
from bench.analysis.evaluation import Gap
from bench.analysis.export_rule import Verdict, default_day, judge
from bench.analysis.headroom import ceilings
from bench.published.chips import Catalogue
from bench.published.rules import read_rules

SPECS = Path(__file__).resolve().parent.parent / "specs"
CATALOGUE = Catalogue([SPECS])
BOOK = read_rules([SPECS])
RULE_2022, RULE_2023 = "2022-10-3a090", "2023-11-3a090"
FOLLOWED = {rule.id: default_day(rule, BOOK) for rule in BOOK.rules}
Said = tuple[bool | None, str | None]


class Numbers(NamedTuple):
    """A complete design as plain numbers: `area` None is a planar die, without performance density."""

    tops: dict[int, Fraction]
    area: Fraction | None
    nvlink: Fraction | None
    pcie: Fraction
    memory: Fraction
    data_centre: bool

    @property
    def tpp(self) -> Fraction:
        return max(bits * rate for bits, rate in self.tops.items())

    @property
    def density(self) -> Fraction | None:
        return None if self.area is None else self.tpp / self.area

    @property
    def io(self) -> set[Fraction]:
        """Both readings: all links, and NVLink alone where there is NVLink."""
        return {self.pcie} if self.nvlink is None else {self.nvlink + self.pcie, self.nvlink}

    def design(self) -> Design:
        made = imagined(
            tops=self.tops,
            die_area=self.area or Fraction(1),
            nvlink=self.nvlink,
            pcie=self.pcie,
            io=None,
            memory_bandwidth=self.memory,
            consumer=not self.data_centre,
        )
        return made._replace(die_area=None, density=None) if self.area is None else made


# The rules once more, in plain Python: what is met, and by which paragraph.


def _paragraph_of_2023(n: Numbers) -> str | None:
    density = Fraction(0) if n.density is None else n.density
    paragraphs = {
        "3A090.a.1": n.tpp >= 4800,
        "3A090.a.2": n.tpp >= 1600 and density >= Fraction("5.92"),
        "3A090.b.1": 2400 <= n.tpp < 4800 and Fraction("1.6") <= density < Fraction("5.92"),
        "3A090.b.2": n.tpp >= 1600 and Fraction("3.2") <= density < Fraction("5.92"),
    }
    if not n.data_centre and n.tpp < 4800:
        return None
    return next((name for name, met in paragraphs.items() if met), None)


def _rule_of_2023(n: Numbers) -> Said:
    outcome = _paragraph_of_2023(n)
    return outcome is not None, outcome


def _either_reading(n: Numbers, outcome: str, test: Callable[[Fraction], bool]) -> Said:
    said = {test(io) for io in n.io}
    met = said.pop() if len(said) == 1 else None
    return met, outcome if met else None


def _rule_of_2022(n: Numbers) -> Said:
    return _either_reading(n, "3A090", lambda io: io >= 600 and n.tpp >= 4800)


def _by_bandwidth(n: Numbers, outcome: str, memory: int, total: int, *, also: bool) -> Said:
    return _either_reading(
        n, outcome, lambda io: also or n.memory >= memory or io >= 1100 or io + n.memory >= total
    )


def _letter_of_2025(n: Numbers) -> Said:
    return _by_bandwidth(n, "letter", 1400, 1700, also=False)


def _ai_overwatch(n: Numbers) -> Said:
    return _by_bandwidth(n, "bill", 1400, 1700, also=_paragraph_of_2023(n) is not None)


def _safe_chips(n: Numbers) -> Said:
    return _by_bandwidth(n, "bill", 4100, 5000, also=_paragraph_of_2023(n) is not None)


def _letter_of_2023(n: Numbers) -> Said:
    met = n.data_centre and n.tpp >= 4800
    return met, "letter" if met else None


def _exception(n: Numbers) -> Said:
    outcome = _paragraph_of_2023(n) or ""
    met = outcome.startswith("3A090.b") if n.data_centre else outcome == "3A090.a.1"
    return met, "NAC" if met else None


def _review(n: Numbers) -> Said:
    if _paragraph_of_2023(n) is None:
        return False, None
    return True, "case by case" if n.tpp < 21_000 and n.memory < 6500 else "presumption of denial"


def _tariff(n: Numbers) -> Said:
    ranges = [((14_000, 17_500), (4500, 5000)), ((20_800, 21_100), (5800, 6200))]
    inside = any(a < n.tpp < b and c < n.memory < d for (a, b), (c, d) in ranges)
    outside = not any(a <= n.tpp <= b and c <= n.memory <= d for (a, b), (c, d) in ranges)
    met = True if inside else False if outside else None
    return met, "tariff" if met else None


ORACLES: dict[str, Callable[[Numbers], Said]] = {
    RULE_2022: _rule_of_2022,
    RULE_2023: _rule_of_2023,
    "2023-10-letter": _letter_of_2023,
    "2023-11-nac": _exception,
    "2025-04-letter": _letter_of_2025,
    "2026-01-review": _review,
    "2026-01-tariff": _tariff,
    "bill-ai-overwatch": _ai_overwatch,
    "bill-safe-chips": _safe_chips,
}

HAIR = Fraction(1, 10**9)


def _near(*lines: str) -> st.SearchStrategy[Fraction]:
    """Return values on the lines, a hair beside them, and between them."""
    exact = st.sampled_from([Fraction(line) for line in lines])
    beside = st.builds(lambda line, sign: line + sign * HAIR, exact, st.sampled_from([-1, 1]))
    between = st.builds(lambda line, by: line * by / 100, exact, st.integers(50, 150))
    return st.one_of(exact, beside, between)


TPP = _near("1600", "2400", "4800", "14000", "17500", "20800", "21000", "21100")
DENSITY = _near("1.6", "3.2", "5.92")
MEMORY = _near("100", "1400", "4100", "4500", "5000", "5800", "6200", "6500")
TRANSISTORS = _near("30e9", "35e9", "40e9")
IO = _near("600", "1000", "1100")


@st.composite
def numbers(draw: st.DrawFn) -> Numbers:
    """Draw a design near or on the rules' thresholds, its TPP set by any one of its rates."""
    tpp, pcie = draw(TPP), Fraction(draw(st.sampled_from([64, 128, 600])))
    bits = draw(st.lists(st.sampled_from([4, 8, 16, 32]), min_size=1, max_size=3, unique=True))
    tops = {bits[0]: tpp / bits[0], **{b: tpp / b * draw(st.integers(1, 100)) / 100 for b in bits[1:]}}
    area = draw(st.one_of(st.none(), DENSITY.map(lambda density: tpp / density)))
    nvlink, memory = draw(st.one_of(st.none(), IO)), draw(MEMORY)
    total = draw(st.sampled_from([None, 1700, 5000]))
    if total is not None:  # memory and I/O together on a line, by one reading or the other
        links = draw(st.sampled_from([pcie, *([nvlink, nvlink + pcie] if nvlink else [])]))
        memory = total - links - draw(st.sampled_from([Fraction(0), HAIR]))
    return Numbers(tops, area, nvlink, pcie, memory, draw(st.booleans()))


def _judge(design: Design, rule_id: str) -> Verdict:
    return judge(design, BOOK.rule(rule_id), BOOK, FOLLOWED[rule_id])


def _plain(tpp: Fraction, area: Fraction, *, consumer: bool = False) -> Design:
    return Numbers({8: tpp / 8}, area, None, Fraction(128), Fraction(4000), data_centre=not consumer).design()


# What follows where a rule is met; of the review it depends on the outcome.
EFFECTS = {
    "2023-11-nac": "exception",
    "2026-01-tariff": "tariff",
    "bill-ai-overwatch": "none",
    "bill-safe-chips": "none",
}
REVIEWED = {"case by case": "case-by-case", "presumption of denial": "denial"}


@given(numbers())
@settings(max_examples=60)
def test_every_rule_agrees_with_its_text_written_down_a_second_time(drawn: Numbers) -> None:
    design = drawn.design()
    for rule_id, oracle in ORACLES.items():
        verdict = _judge(design, rule_id)
        assert (verdict.met, verdict.outcome) == oracle(drawn), rule_id
        follows = REVIEWED.get(verdict.outcome or "") or EFFECTS.get(rule_id, "licence")
        assert verdict.effect == {True: follows, False: "none", None: None}[verdict.met], rule_id


@given(numbers())
@settings(max_examples=40)
def test_the_exception_beside_a_verdict_is_that_of_the_exceptions_own_rule(drawn: Numbers) -> None:
    assert _judge(drawn.design(), RULE_2023).exception == _exception(drawn)[1]


@given(numbers(), st.data())
@settings(max_examples=40)
def test_what_is_said_of_a_design_with_gaps_is_never_wrong(drawn: Numbers, data: st.DataObject) -> None:
    """Where figures are not published the verdict is unknown, or it is that of the whole design."""
    whole = drawn.design()._replace(transistors=exactly(data.draw(TRANSISTORS)), hbm=data.draw(st.booleans()))
    rest = data.draw(_with_gaps(whole))
    for rule_id in FOLLOWED:
        said, truth = _judge(rest, rule_id), _judge(whole, rule_id)
        assert said.met in (None, truth.met), rule_id
        assert said.outcome in (None, truth.outcome), rule_id
        assert said.exception in (None, truth.exception), rule_id
        assert said.effect in (None, truth.effect), rule_id
        assert said.reason, rule_id


@st.composite
def _with_gaps(draw: st.DrawFn, whole: Design) -> Design:
    """Draw what is left of a design if some of its figures are not published, or only a lower bound."""
    names = ["tpp", "die_area", "memory_bandwidth", "io", "transistors", "data_centre", "hbm"]
    hidden = draw(st.sets(st.sampled_from(names), min_size=1, max_size=3))
    changed: dict[str, Any] = {}
    if "tpp" in hidden:
        changed["tpp"] = low = draw(_lower(whole.tpp, "fp8"))
        changed["density"] = None if whole.die_area is None else low.over(whole.die_area.low)
    if "die_area" in hidden and whole.die_area is not None:
        changed |= {"die_area": unpublished("die_area"), "density": unpublished("die_area")}
    if "memory_bandwidth" in hidden:
        changed["memory_bandwidth"] = draw(
            _lower(whole.memory_bandwidth or exactly(Fraction(0)), "memory_bandwidth")
        )
    if "io" in hidden:
        changed["io"] = tuple(Reading(one.label, draw(_lower(one.span, "nvlink"))) for one in whole.io)
    if "transistors" in hidden:
        changed["transistors"] = draw(_lower(whole.transistors or exactly(Fraction(0)), "transistors"))
    changed |= {"data_centre": (True, False)} if "data_centre" in hidden else {}
    changed |= {"hbm": None} if "hbm" in hidden else {}
    return whole._replace(**changed)


def _lower(span: Span, name: str) -> st.SearchStrategy[Span]:
    """Return nothing of a quantity, or a lower bound that may be the value itself."""
    return st.integers(0, 4).map(lambda quarters: Span(span.low * quarters / 4, None, (name,)))


@given(TPP, DENSITY, st.booleans(), st.integers(0, 10**6))
@settings(max_examples=60)
def test_more_performance_never_leaves_control(
    tpp: Fraction, density: Fraction, consumer: bool, more: int
) -> None:
    area = tpp / density
    less, greater = (_plain(value, area, consumer=consumer) for value in (tpp, tpp * (1 + Fraction(more, 10**5))))
    if _judge(less, RULE_2023).met:
        assert _judge(greater, RULE_2023).met


@given(TPP, DENSITY, st.fractions(Fraction(1, 1000), 1000))
@settings(max_examples=40)
def test_scaling_die_area_and_performance_together_leaves_density(
    tpp: Fraction, density: Fraction, by: Fraction
) -> None:
    assert _plain(tpp * by, tpp / density * by).density == exactly(density)


RATED = [(chip, name) for chip in CATALOGUE.all() for name in ("fp16", "fp8", "int8") if name in chip.figures]


@given(st.integers(0, len(RATED) - 1), st.integers(1, 10**6))
@settings(max_examples=40)
def test_a_sparse_figure_changes_nothing(index: int, tops: int) -> None:
    chip, rate = RATED[index]
    name = f"{rate}_sparse"
    sparse = chip.figures[rate]._replace(
        name=name, status="known", value=Decimal(tops), unit="TFLOPS", dense=False
    )
    assert design_of(chip._replace(figures={**chip.figures, name: sparse})) == design_of(chip)


@pytest.mark.parametrize(
    ("paragraph", "tpp", "area"),
    [
        ("3A090.a.1", "4800", "4000"),
        ("3A090.a.2", "1600", "200"),
        ("3A090.b.1", "2400", "1000"),
        ("3A090.b.2", "1600", "400"),
    ],
)
@given(digits=st.integers(0, 40))
@settings(max_examples=40)
def test_the_next_smaller_decimal_below_a_performance_is_outside(
    paragraph: str, tpp: str, area: str, digits: int
) -> None:
    on, below = Fraction(tpp), Fraction(tpp) - Fraction(1, 10**digits)
    assert _judge(_plain(on, Fraction(area)), RULE_2023).outcome == paragraph
    assert _judge(_plain(below, Fraction(area)), RULE_2023).met is False
    on_consumer, below_consumer = (
        _judge(_plain(v, Fraction(area), consumer=True), RULE_2023) for v in (on, below)
    )
    assert on_consumer.met is (paragraph == "3A090.a.1")
    assert below_consumer.met is False


@pytest.mark.parametrize(
    ("tpp", "density", "on_it", "below_it"),
    [
        ("2400", "1.6", "3A090.b.1", None),
        ("1600", "3.2", "3A090.b.2", None),
        ("1600", "5.92", "3A090.a.2", "3A090.b.2"),
        ("2400", "5.92", "3A090.a.2", "3A090.b.1"),
    ],
)
@given(digits=st.integers(1, 40))
@settings(max_examples=40)
def test_the_next_smaller_decimal_below_a_density_is_outside(
    tpp: str, density: str, on_it: str, below_it: str | None, digits: int
) -> None:
    performance, line = Fraction(tpp), Fraction(density)
    below = line - Fraction(1, 10**digits)
    on, outside = (_judge(_plain(performance, performance / value), RULE_2023) for value in (line, below))
    assert (on.met, on.outcome) == (True, on_it)
    assert (outside.met, outside.outcome) == (below_it is not None, below_it)
    assert {part.name: part.met for part in outside.paragraphs}[on_it] is False


def _check_margin(margin: Gap, drawn: Numbers) -> None:
    assert margin.relative == margin.value / margin.threshold - 1
    values: dict[str, set[Fraction | None]] = {
        "tpp": {drawn.tpp},
        "performance_density": {drawn.density},
        "memory_bandwidth": {drawn.memory},
        "io": {*drawn.io},
        "io_plus_memory_bandwidth": {io + drawn.memory for io in drawn.io},
    }
    assert margin.value in values[margin.quantity]


@given(numbers())
@settings(max_examples=60)
def test_a_margin_is_of_the_designs_own_value_and_on_the_side_of_the_verdict(drawn: Numbers) -> None:
    design = drawn.design()
    for rule_id in ORACLES:
        verdict = _judge(design, rule_id)
        margins = [verdict.margin, *(paragraph.margin for paragraph in verdict.paragraphs)]
        for margin in margins:
            if margin is not None:
                _check_margin(margin, drawn)
        # In these rules more of anything is worse, but for the upper ends of the paragraphs of 3A090.b.
        if verdict.margin is not None and rule_id in (RULE_2022, "2023-10-letter", "2025-04-letter"):
            assert (verdict.margin.relative >= 0) is verdict.met, rule_id
        if rule_id == RULE_2023 and verdict.met is False and verdict.margin is not None:
            assert verdict.margin.relative < 0


@given(numbers(), st.integers(1, 30))
@settings(max_examples=40)
def test_just_below_the_line_a_design_is_outside_and_at_it_and_above_inside(drawn: Numbers, digits: int) -> None:
    """The line is where the second statement of the rule turns too, and its share is the design's TPP over it."""
    design = drawn.design()
    for rule_id in (RULE_2022, RULE_2023, "2023-10-letter"):
        for line in ceilings(design, BOOK.rule(rule_id), BOOK, FOLLOWED[rule_id]):
            points = [Fraction(1, 1000), drawn.tpp, 2 * drawn.tpp, Fraction(10**6)]
            if line.tpp is None:
                assert {ORACLES[rule_id](_with_tpp(drawn, tpp))[0] for tpp in points} == {line.always}
                continue
            assert not line.inclusive
            assert line.share(design) == drawn.tpp / line.tpp
            below = line.tpp * (1 - Fraction(1, 10**digits))
            for tpp, met in [(below, False), (line.tpp, True), (line.tpp + HAIR, True), (2 * line.tpp, True)]:
                changed = _with_tpp(drawn, tpp)
                assert _judge(changed.design(), rule_id).met is met
                assert ORACLES[rule_id](changed)[0] is met


def _with_tpp(drawn: Numbers, tpp: Fraction) -> Numbers:
    return drawn._replace(tops={8: tpp / 8})


def test_a_day_after_the_last_that_was_looked_at_is_unknown_for_every_rule() -> None:
    for rule in BOOK.rules:
        verdict = judge(_plain(Fraction(10**5), Fraction(814)), rule, BOOK, date(2026, 9, 26))
        assert (verdict.met, verdict.outcome) == (None, None)
