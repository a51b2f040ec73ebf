"""What `--fail-on` understands, and which cells of a comparison meet it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Absent, Against, Comparison, Row, Side, compare
from bench.analysis.estimates import Estimate, Ratio
from bench.analysis.gates import Gate, Trip, read_gate, tripped, unsane
from bench.analysis.sane import Judged, Sanity
from bench.analysis.verdict import Finding, Reason, Verdict
from bench.errors import InvalidRequest
from bench.stats import Interval
from bench.workloads.base import Cell
from tests.support import cell

CELL, OTHER = cell(64), cell(96)
SLOWER, ABSENT = read_gate("slower"), read_gate("not-comparable")
UNSANE = read_gate("unsane")
RATE = Estimate(1e12, Interval(0.999e12, 1.001e12), (1e12,) * 3)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "name", "least"),
        [
            ("slower", "slower", 0.0),
            ("slower:5", "slower", 0.05),
            ("slower:0", "slower", 0.0),
            ("slower:2.5", "slower", 0.025),
            ("slower:99.9", "slower", 0.999),
            ("slower:1e1", "slower", 0.1),
            ("SLOWER:5", "slower", 0.05),
            ("  slower:5 ", "slower", 0.05),
            ("slower: 5", "slower", 0.05),
            ("slower:5%", "slower", 0.05),
            ("slower:2.5 % ", "slower", 0.025),
            ("SLOWER:0%", "slower", 0.0),
            ("not-comparable", "not-comparable", 0.0),
            ("Not-Comparable", "not-comparable", 0.0),
            ("unsane", "unsane", 0.0),
            ("UNSANE\n", "unsane", 0.0),
        ],
    )
    def test_every_spelling(self, text: str, name: str, least: float) -> None:
        gate = read_gate(text)
        assert (gate.name, gate.text) == (name, text.strip().lower())
        assert gate.least == pytest.approx(least)

    @pytest.mark.parametrize(
        "text",
        ["", " ", ":", "faster", "slow", "slower5", "slower 5", "not comparable", "not_comparable", "same",
         "insane", "not-comparable:5", "unsane:", "unsane:5", "slower;5", ":5", "can't tell"],
    )  # fmt: skip
    def test_what_is_none_is_named_with_those_there_are(self, text: str) -> None:
        with pytest.raises(InvalidRequest) as raised:
            read_gate(text)
        message = str(raised.value)
        assert repr(text) in message
        assert all(name in message for name in ("slower", "slower:PERCENT", "not-comparable", "unsane"))

    @pytest.mark.parametrize(
        "number", ["", "five", "%5", "-1", "-0.001", "100", "1000", "nan", "inf", "-inf", "5:5", "5,5", "0x5"]
    )
    def test_what_is_no_percentage_is_named(self, number: str) -> None:
        with pytest.raises(InvalidRequest) as raised:
            read_gate(f"slower:{number}")
        message = str(raised.value)
        assert repr(f"slower:{number}") in message
        assert f"{number!r} must be a percentage from 0 to below 100" in message
        assert raised.value.exit_code == 2

    @pytest.mark.parametrize("text", ["slower:%", "slower:5%%", "slower:100%", "slower:-1%", "slower:five%"])
    def test_with_a_sign_it_is_to_be_a_percentage_too(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="must be a percentage from 0 to below 100") as raised:
            read_gate(text)
        assert repr(text) in str(raised.value)

    @given(st.text(max_size=20))
    def test_anything_is_a_gate_or_invalid(self, text: str) -> None:
        with suppress(InvalidRequest):
            gate = read_gate(text)
            assert gate.name in {"slower", "not-comparable", "unsane"}
            assert 0 <= gate.least < 1

    @given(st.floats(0, 99.99))
    def test_every_percentage_is_one(self, percent: float) -> None:
        assert read_gate(f"slower:{percent!r}").least == pytest.approx(percent / 100)


def against(verdict: Verdict | None, ratio: float = 1.0, reason: Reason = "processes") -> Against:
    value = Ratio(ratio, Interval(ratio * 0.99, ratio * 1.01))
    return Against(RATE, value, None if verdict is None else Finding(verdict, reason, value))


def measured(label: str) -> Side:
    return Side(label, "measured", "A device", {CELL: RATE})


def comparison(*rows: tuple[Cell, tuple[Against, ...]], absent: tuple[Absent, ...] = ()) -> Comparison:
    """Return a hand-made comparison of a against as many sides as the rows have: b, c and so on."""
    labels = "bcdef"[: len(rows[0][1])]
    sides = (measured("a"), *map(measured, labels))
    made = tuple(Row(of, RATE, others) for of, others in rows)
    return Comparison(sides, ((),) * len(labels), made, absent)


def one(found: Against) -> Comparison:
    return comparison((CELL, (found,)))


class TestSlower:
    @pytest.mark.parametrize(
        ("text", "ratio", "trips"),
        [
            ("slower", 0.99, True),
            ("slower", 0.9999, True),
            ("slower:0", 0.99, True),
            ("slower:5", 0.9499, True),
            ("slower:5", 0.95, True),
            ("slower:5%", 0.95, True),
            ("slower:5%", 0.9501, False),
            ("slower:5", 0.9501, False),
            ("slower:50", 0.5, True),
            ("slower:50", 0.51, False),
            ("slower:99", 0.5, False),
            ("slower:7", 0.93, True),  # which is above 1 - 0.07 as floats round it
            ("slower:7", 0.93 + 1e-10, True),
            ("slower:7", 0.93 + 1e-8, False),
        ],
    )
    def test_from_so_many_per_cent_on(self, text: str, ratio: float, trips: bool) -> None:
        found = tripped(one(against("slower", ratio)), [read_gate(text)])
        assert found == ([Trip(CELL, "b", text)] if trips else [])

    @pytest.mark.parametrize("percent", range(1, 100))
    def test_exactly_so_many_per_cent_trip_it_however_floats_round(self, percent: int) -> None:
        (found,) = tripped(one(against("slower", (100 - percent) / 100)), [read_gate(f"slower:{percent}")])
        assert found.gate == f"slower:{percent}"

    @pytest.mark.parametrize("verdict", ["faster", "same", "can't tell", "not comparable"])
    @pytest.mark.parametrize("text", ["slower", "slower:5"])
    def test_without_the_verdict_no_ratio_trips_it(self, verdict: Verdict, text: str) -> None:
        assert tripped(one(against(verdict, 0.5)), [read_gate(text)]) == []

    def test_each_cell_and_side_is_told_by_itself(self) -> None:
        slow, same = against("slower", 0.9), against("same")
        found = tripped(comparison((CELL, (slow, same, slow)), (OTHER, (same, slow, same))), [SLOWER])
        assert found == [Trip(CELL, "b", "slower"), Trip(CELL, "d", "slower"), Trip(OTHER, "c", "slower")]

    def test_an_absent_cell_is_not_slower(self) -> None:
        missing = comparison((CELL, (against("same"),)), absent=(Absent(OTHER, "b", "missing", "b"),))
        assert tripped(missing, [SLOWER]) == []


class TestNotComparable:
    @pytest.mark.parametrize("reason", ["context", "failed"])
    def test_it_is_the_verdict(self, reason: Reason) -> None:
        assert tripped(one(against("not comparable", reason=reason)), [ABSENT]) == [
            Trip(CELL, "b", "not-comparable")
        ]

    @pytest.mark.parametrize("verdict", ["faster", "slower", "same", "can't tell"])
    def test_no_other_is(self, verdict: Verdict) -> None:
        assert tripped(one(against(verdict, 0.5)), [ABSENT]) == []

    @pytest.mark.parametrize("reason", ["missing", "failed"])
    def test_a_cell_that_a_side_lacks_counts_once(self, reason: str) -> None:
        lacking = Absent(OTHER, "b", "failed" if reason == "failed" else "missing", "b")
        found = comparison((CELL, (against("same"),)), absent=(lacking,))
        for gates in ([ABSENT], [ABSENT, ABSENT], [SLOWER, ABSENT, read_gate("slower:5")]):
            assert tripped(found, gates) == [Trip(OTHER, "b", "not-comparable")]

    def test_of_real_sides_each_cell_is_told_once(self) -> None:
        """b lacks one, which c has; another failed in c, in one process of several; a third failed in a."""
        third, fourth = cell(128), cell(192)
        a = measured("a")._replace(
            device_kind="cpu", estimates=dict.fromkeys((CELL, OTHER, third), RATE), failed=(fourth,)
        )
        b = a._replace(label="b", estimates=dict.fromkeys((CELL, third, fourth), RATE), failed=())
        c = a._replace(label="c", estimates=dict.fromkeys((CELL, OTHER, third), RATE), failed=(third,))
        found = tripped(compare([a, b, c]), [ABSENT])
        assert sorted((trip.cell.shape.m if trip.cell.shape else 0, trip.label) for trip in found) == [
            (96, "b"), (128, "c"), (192, "b"), (192, "c"),
        ]  # fmt: skip


class TestPublished:
    @pytest.mark.parametrize("gate", [SLOWER, read_gate("slower:5"), ABSENT, UNSANE])
    def test_what_was_published_meets_none(self, gate: Gate) -> None:
        others = comparison((CELL, (against("can't tell", 0.1, "published"), against(None, 0.1), Against(None))))
        assert tripped(others, [gate]) == []

    @pytest.mark.parametrize("kind", ["published", "published measurement"])
    def test_nor_in_a_real_comparison(self, kind: str) -> None:
        stated = Side(
            "p", "published measurement", "A chip", {CELL: Estimate(2e12, None), OTHER: Estimate(1, None)}
        )
        a = measured("a")._replace(estimates={CELL: RATE, OTHER: RATE}, device_kind="cpu")
        absent = Side("q", "published", "Another chip", {})
        found = compare([a, stated, absent] if kind == "published" else [a, stated])
        assert found.absent == ()
        assert tripped(found, [SLOWER, read_gate("slower:5"), ABSENT, UNSANE]) == []


class TestSeveral:
    def test_a_cell_is_told_by_the_first_that_it_meets(self) -> None:
        row = (against("slower", 0.9), against("slower", 0.97), against("not comparable"), against("same"))
        gates = [read_gate("slower:5"), SLOWER, ABSENT]
        assert [(trip.label, trip.gate) for trip in tripped(comparison((CELL, row)), gates)] == [
            ("b", "slower:5"), ("c", "slower"), ("d", "not-comparable"),
        ]  # fmt: skip

    def test_without_one_nothing_trips(self) -> None:
        row = (against("slower", 0.1), against("not comparable"))
        assert tripped(comparison((CELL, row), absent=(Absent(OTHER, "b", "failed", "b"),)), []) == []


class TestUnsane:
    @staticmethod
    def judged(sanity: Sanity, of: Cell = CELL, checks: tuple[str, ...] = ()) -> Judged:
        return Judged(of, RATE, (), None, None, sanity, checks, {})

    def test_too_fast_and_too_slow_are(self) -> None:
        every = [
            self.judged("sane"),
            self.judged("too slow"),
            self.judged("not judged"),
            self.judged("too fast", OTHER),
        ]
        assert list(unsane(every, "run", [UNSANE])) == [Trip(CELL, "run", "unsane"), Trip(OTHER, "run", "unsane")]
        assert list(unsane(every, "run", [SLOWER, UNSANE, UNSANE])) == list(unsane(every, "run", [UNSANE]))

    def test_so_is_what_failed_its_check_though_it_is_not_judged(self) -> None:
        every = [
            self.judged("not judged", checks=("unpublished",)),
            self.judged("not judged", OTHER, ("failed",)),
            self.judged("not judged", checks=("host_limited",)),
        ]
        assert list(unsane(every, "run", [UNSANE])) == [Trip(OTHER, "run", "unsane")]

    def test_other_conditions_do_not_ask_for_it(self) -> None:
        wrong = [self.judged("too slow"), self.judged("too fast"), self.judged("not judged", checks=("failed",))]
        for gates in ([], [SLOWER, read_gate("slower:5"), ABSENT]):
            assert list(unsane(wrong, "run", gates)) == []
        assert tripped(one(against("slower", 0.5)), [UNSANE]) == []
