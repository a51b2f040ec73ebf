"""Devices that are lost and come back: early, late, at the same time, or to a place that is gone again."""

from pathlib import Path

import pytest

from bench.run import collecting, member
from bench.run.collecting import measure_several
from bench.run.engine import Ended
from bench.run.several import arrange
from tests.places_lab import CPU, KEY, Site, Unit, gone, lost, request
from tests.test_collecting import Clock, complete, errors, no_file_stays_open, run, site

__all__ = ["no_file_stays_open", "site"]  # fixtures


class TestBack:
    def test_one_that_comes_back_late_is_waited_for(self, site: Site, tmp_path: Path) -> None:
        site.faults["b"] = gone(site, "b", 2)
        idle: list[int] = []

        def returns() -> None:
            idle.append(1)
            if len(idle) == 8:
                site.units["d"], site.hosts["d"] = Unit("b"), "x"

        site.on_idle = returns
        collected, _ = run(site, tmp_path)
        assert complete(collected) == [True] * 3

    def test_one_that_moved_before_the_first_cell_is_found(self, site: Site, tmp_path: Path) -> None:
        asked = request(tmp_path / "results")
        begun = arrange(site, asked, KEY, indices=dict.fromkeys(site.places()), together=False).begun
        site.units["d"], site.hosts["d"] = site.units.pop("b"), "x"
        collected, _ = measure_several(site, begun, asked, lambda _progress: None)
        assert complete(collected) == [True] * 3

    def test_one_that_is_back_before_its_loss_is_noticed_is_found(self, site: Site, tmp_path: Path) -> None:
        """Its new place is asked for another's sake, and nobody waits for what it has, yet."""
        site.faults = {"b": gone(site, "b", 2, back_at="e"), "c": gone(site, "c", 1, back_at="d")}
        site.hang = {"b": 2}

        def noticed() -> None:
            if "e" in site.jobs(member.Look) and not site.jobs(member.Measure).count("e"):
                site.hang.clear()
                for number in [number for number, place in site.running.items() if place == "b"]:
                    site.send(Ended(number, "its worker is gone"))

        site.on_idle = noticed
        collected, _ = run(site, tmp_path, together=True)
        assert errors(collected) == [None] * 3
        assert complete(collected) == [True] * 3

    def test_one_whose_process_dies_before_its_place_does_is_tried_at_its_new_place(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when a job of a cluster is ended: everything gets SIGTERM, and the worker is the last to go."""
        monkeypatch.setattr(collecting, "monotonic", Clock(0.01))
        die = gone(site, "b", 2, back_at="d")
        site.faults = {"b": lost(2)}

        def follows() -> None:
            if "b" in site.units and site.jobs(member.Measure).count("b") and not site.running:
                die([])

        site.on_idle = follows
        collected, _ = run(site, tmp_path, together=True)
        assert errors(collected) == [None] * 3
        assert complete(collected) == [True] * 3

    def test_a_place_that_does_not_say_what_it_is_is_not_waited_for_for_ever(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr(collecting, "monotonic", clock)
        site.faults["b"] = gone(site, "b", 2, back_at="mute")
        site.silent.add("mute")
        site.on_idle = lambda: setattr(clock, "now", clock.now + 60)
        collected, _ = run(site, tmp_path)
        assert errors(collected) == [None, "its worker is gone", None]

    def test_one_that_is_slow_and_talks_is_not_given_up(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr(collecting, "monotonic", clock)
        site.units = {"a": site.units["a"]}

        def slow() -> None:
            if any(isinstance(job, member.Measure) for _, job in site.started):
                clock.now += 500.0

        site.on_message = slow
        collected, _ = run(site, tmp_path)
        assert errors(collected) == [None]
        assert clock.now > 2000

    def test_a_new_place_that_is_gone_again_is_not_gone_on_at(self, site: Site, tmp_path: Path) -> None:
        """It had told what it has, and what was left was about to be sent there."""
        site.faults["b"] = gone(site, "b", 2, back_at="d")

        def moves() -> None:
            if "d" in site.units and "d" in site.jobs(member.Look) and site.ends_next:
                gone(site, "d", 0, back_at="e")([])

        site.on_message = moves
        collected, _ = run(site, tmp_path)
        assert "d" not in site.units
        assert complete(collected) == [True] * 3
        assert site.jobs(member.Measure)[-1] == "e"


class TestShared:
    """Two processes have their shares of one CPU: one device, by its key, at two places."""

    @pytest.fixture
    def shared(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        return Site(monkeypatch, {place: Unit("the cpu", CPU) for place in "ab"}, {"a": "x", "b": "x"})

    def test_both_come_back_to_places_of_their_own(self, shared: Site, tmp_path: Path) -> None:
        shared.faults = {"a": gone(shared, "a", 1, back_at="c"), "b": gone(shared, "b", 2, back_at="d")}
        collected, _ = run(shared, tmp_path)
        assert complete(collected) == [True] * 2
        assert shared.jobs(member.Measure) == ["a", "b", "c", "d"]

    def test_the_loss_of_one_that_is_noticed_late_gives_it_no_place_of_the_other(
        self, shared: Site, tmp_path: Path
    ) -> None:
        shared.faults = {"a": gone(shared, "a", 1, back_at="c"), "b": gone(shared, "b", 2, back_at="d")}
        shared.hang = {"b": 2}

        def noticed() -> None:
            if "c" in shared.jobs(member.Measure) and shared.hang:
                shared.hang.clear()
                for number in [number for number, place in shared.running.items() if place == "b"]:
                    shared.send(Ended(number, "its worker is gone"))

        shared.on_idle = noticed
        collected, _ = run(shared, tmp_path)
        assert complete(collected) == [True] * 2
        assert shared.jobs(member.Measure) == ["a", "b", "c", "d"]
