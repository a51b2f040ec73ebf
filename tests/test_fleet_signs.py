"""What may be why a device is an outlier, and what only describes it: by size, direction, and who told it."""

import math
from pathlib import Path
from typing import Any, Final

import pytest

from bench.analysis.estimates import over_processes
from bench.analysis.fleet_evidence import explains
from bench.devices.base import Caveat
from bench.records.record import Process
from tests.fleet_lab import BF16, COPY, FP64, write_gpu, write_nodes
from tests.test_fleet import found_in, signs, standing

OTHER_DRIVER: Final = {"versions": {"driver": "570.1"}}
MEMORY: Final = 2.6e9


def limit_of(watts: float) -> dict[str, Any]:
    return {
        "settings": {"power_limit_w": str(watts)},
        "warnings": [Caveat(code="power_limit", values={"watts": watts, "default": 700.0})],
    }


class TestMajority:
    @pytest.mark.parametrize("slow", ["a3", "a4"])
    def test_where_no_value_is_that_of_most_none_is_unlike_them(self, tmp_path: Path, slow: str) -> None:
        but: dict[str, dict[str, Any]] = {f"a{number}": {**OTHER_DRIVER} for number in range(4)}
        but.setdefault(slow, {})["slow"] = 1.2
        fleet = found_in(write_nodes(tmp_path, "a", cells=(BF16,), but=but))
        ((_, one),) = fleet.outliers
        assert "named" not in {sign.code for sign in one.signs}

    def test_what_most_have_and_a_slow_one_lacks_is_named(self, tmp_path: Path) -> None:
        several: dict[str, Any] = {f"a{number}": {"settings": {"new": "1"}} for number in range(8)}
        fleet = found_in(write_nodes(tmp_path, "a", cells=(BF16,), but={**several, "a3": {"slow": 1.2}}))
        ((_, one),) = fleet.outliers
        (named,) = (sign for sign in one.signs if sign.code == "named")
        assert named.values == {"name": "new", "this": "not set", "usual": "1"}


class TestDirection:
    @pytest.mark.parametrize(
        ("slow", "clock", "told"),
        [(1.2, 0.9, True), (1.2, 1.05, False), (0.85, 1.1, True), (0.85, 0.95, False)],
    )
    def test_a_clock_that_moved_the_other_way_is_no_sign_of_a_copy(
        self, tmp_path: Path, slow: float, clock: float, *, told: bool
    ) -> None:
        found = signs(tmp_path, {"slow": {COPY: slow}, "clock": clock}, COPY)
        assert ("clock_moved" in found, explains(found.values())) == (told, told)

    def test_a_memory_clock_explains_a_copy_if_it_moved_by_a_fifth_of_it_or_more(self, tmp_path: Path) -> None:
        for folder, share, enough in (("much", 0.5, True), ("little", 0.1, False)):
            but = {"slow": {COPY: 1.2}, "memory_clock": MEMORY * math.exp(-share * math.log(1.2))}
            found = signs(tmp_path / folder, but, COPY, memory_clock=MEMORY)
            assert found["memory_clock"].values["usual_hz"] == MEMORY
            assert explains(found.values()) is enough

    @pytest.mark.parametrize(("slow", "watts", "enough"), [(1.2, 500, True), (1.2, 800, False), (0.85, 800, True)])
    def test_a_power_limit_explains_only_what_lies_on_its_side(
        self, tmp_path: Path, slow: float, watts: float, *, enough: bool
    ) -> None:
        found = signs(tmp_path, {"slow": slow, **limit_of(watts)})
        assert found["named"].values["this"] == str(watts)
        assert explains(found.values()) is enough

    def test_a_power_limit_that_was_only_warned_of_likewise(self, tmp_path: Path) -> None:
        for watts, enough in ((500.0, True), (800.0, False)):
            but = {"slow": 1.2, **limit_of(watts), "settings": {}}
            assert explains(signs(tmp_path / f"{watts}", but).values()) is enough

    def test_one_that_was_held_back_less_than_others_is_not_slow_for_that(self, tmp_path: Path) -> None:
        less = signs(tmp_path, {"slow": 1.2, "reasons": {}}, reasons={"hw_slowdown": 0.9})
        assert "held_back" not in less

    def test_a_power_limit_explains_a_copy_too_whose_clock_nobody_knows_to_matter(self, tmp_path: Path) -> None:
        found = signs(tmp_path, {"slow": {COPY: 1.2}, "reasons": {"sw_power_cap": 1.0}}, COPY)
        assert found["held_back"].explains

    def test_unusual_power_describes_and_another_version_explains_whichever_is_newer(self, tmp_path: Path) -> None:
        drawn = signs(tmp_path / "power", {"slow": 1.2, "watts": 540.0})
        assert ("power" in drawn, explains(drawn.values())) == (True, False)
        assert explains(signs(tmp_path / "cuda", {"slow": 1.2, "versions": {"cuda": "13.1"}}).values())

    def test_a_slow_one_that_tells_neither_heat_nor_power_has_no_such_sign(self, tmp_path: Path) -> None:
        found = signs(tmp_path, {"slow": 1.2, "celsius": None, "watts": None})
        assert not found.keys() & {"temperature", "power"}
        assert found

    def test_a_clock_that_fell_by_much_more_than_the_rate_is_said_to_have(self, tmp_path: Path) -> None:
        found = signs(tmp_path, {"slow": 1.07, "clock": 0.7})
        assert found["clock_beyond"].values["clock"] == pytest.approx(-0.3)
        assert found["clock_beyond"].values["cycles"] == pytest.approx(-0.25, abs=0.02)

    def test_a_power_limit_that_did_not_move_the_clock_is_not_why(self, tmp_path: Path) -> None:
        found = signs(tmp_path, {"slow": 1.2, "reasons": {"sw_power_cap": 1.0}})
        assert {"cycles", "held_back"} <= {*found}
        assert not explains(found.values())


class TestDescriptions:
    @pytest.mark.parametrize("code", ["no_clock", "hidden"])
    def test_warnings_of_what_is_not_seen_explain_nothing(self, tmp_path: Path, code: str) -> None:
        found = signs(tmp_path, {"slow": 1.2, "warnings": [Caveat(code=code)]})
        assert found["warned"].values == {"warning": code}
        assert not explains(found.values())

    def test_heat_explains_what_the_clock_or_a_fault_shows_too_and_nothing_by_itself(self, tmp_path: Path) -> None:
        alone = signs(tmp_path / "1", {"slow": 1.2, "celsius": 88.0})
        assert "temperature" in alone
        assert not explains(alone.values())
        assert explains(signs(tmp_path / "2", {"slow": 1.25, "celsius": 88.0, "clock": 0.8}).values())
        slowed = {"slow": 1.25, "celsius": 88.0, "reasons": {"hw_slowdown": 0.5}}
        assert explains(signs(tmp_path / "3", slowed).values())


class TestSilence:
    def test_a_device_that_does_not_tell_what_held_it_back_was_not_held_back_less(self, tmp_path: Path) -> None:
        fast = {"slow": 0.8, "clock": 1.25}
        capped = {"sw_power_cap": 1.0}
        assert "held_back" in signs(tmp_path / "told", {**fast, "reasons": {}}, reasons=capped)
        assert "held_back" not in signs(tmp_path / "silent", {**fast, "reasons": None}, reasons=capped)

    def test_silent_devices_do_not_say_what_is_usual(self, tmp_path: Path) -> None:
        silent: dict[str, Any] = {f"a{number}": {"reasons": None} for number in range(5)}
        slow = {"slow": 1.25, "clock": 0.8, "reasons": {"sw_power_cap": 1.0}}
        but = {**silent, "a7": slow}
        fleet = found_in(write_nodes(tmp_path, "a", cells=(BF16,), but=but, reasons={"sw_power_cap": 1.0}))
        assert "held_back" not in {sign.code for sign in standing(fleet, 7).signs}

    def test_processes_that_were_silent_do_not_halve_what_the_others_told(self, tmp_path: Path) -> None:
        write_gpu(tmp_path, "a0", cells=(BF16,), processes=2, reasons={"sw_power_cap": 0.8})
        third = {"id": "c", "process": Process(index=2, of=3, group="a0")}
        write_gpu(tmp_path, "a0", cells=(BF16,), reasons=None, header=third)
        entry = standing(found_in(tmp_path), 0).entry
        assert entry.rate is not None
        assert entry.rate.processes == 3
        assert entry.facts.reasons is not None
        assert dict(entry.facts.reasons) == {"sw_power_cap": pytest.approx(0.8)}

    def test_a_sensor_that_tells_nought_is_silent(self, tmp_path: Path) -> None:
        fleet = found_in(write_nodes(tmp_path, "a", 5, cells=(FP64,), processes=3, memory_clock=0.0, watts=0.0))
        facts = standing(fleet, 0, FP64).entry.facts
        assert (facts.memory_clock_hz, facts.watts) == (None, None)
        assert over_processes([0.0, 2.0, 8.0, None]) == pytest.approx(4.0)
        assert over_processes([0.0, None]) is None


class TestProcesses:
    def test_of_several_the_readings_are_means_and_what_none_told_is_not_told(self, tmp_path: Path) -> None:
        told = found_in(write_nodes(tmp_path / "told", "a", 5, cells=(BF16,), processes=2))
        facts = standing(told, 0).entry.facts
        assert [facts.watts, facts.temperature_c] == pytest.approx([690, 61])
        silent = found_in(
            write_nodes(tmp_path / "silent", "a", 5, cells=(BF16,), processes=2, reasons=None, celsius=None)
        )
        facts = standing(silent, 0).entry.facts
        assert (facts.reasons, facts.temperature_c) == (None, None)
