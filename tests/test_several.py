"""A run over several devices: who is measured, with which plan, how many at once, and who is left out and why."""

from pathlib import Path

import msgspec
import pytest

from bench.errors import BackendUnavailable, InvalidRequest
from bench.run import member
from bench.run.planning import Wish
from bench.run.several import Arranged, arrange
from tests.places_lab import CPU, GPU, KEY, Site, Unit, request
from tests.support import CELLS

ALONE, TOGETHER = "alone", "together"


def site(monkeypatch: pytest.MonkeyPatch, *where: tuple[str, Unit, str]) -> Site:
    units = {place: unit for place, unit, _ in where}
    return Site(monkeypatch, units, {place: host for place, _, host in where})


def arranged(at: Site, results: Path, **options: object) -> Arranged:
    together = bool(options.pop("together", False))
    indices = dict.fromkeys(at.places())
    return arrange(at, request(results, **options), KEY, indices=indices, together=together)  # type: ignore[arg-type]


def loads(found: Arranged) -> list[str | None]:
    return [one.header.plan.cells[0].load for one in found.begun]


class TestFound:
    def test_each_device_gets_a_record_of_its_own_in_one_run(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "x"), ("c", Unit("3"), "y"))
        headers = [one.header for one in arranged(at, tmp_path).begun]
        members = [header.member for header in headers if header.member is not None]
        assert [(one.index, one.of) for one in members] == [(0, 3), (1, 3), (2, 3)]
        assert len({one.fleet for one in members}) == 1
        assert len({header.id for header in headers}) == len({header.device.key for header in headers}) == 3
        hosts = [header.device.host_key for header in headers]
        assert hosts[0] == hosts[1] != hosts[2]
        assert "x" not in hosts

    def test_several_processes_of_a_device_are_records_of_one_group(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "y"))
        found = arranged(at, tmp_path, processes=2)
        marks = [(one.place, one.header.process) for one in found.begun]
        assert [(place, mark.index, mark.of) for place, mark in marks if mark] == [
            ("a", 0, 2), ("a", 1, 2), ("b", 0, 2), ("b", 1, 2),
        ]  # fmt: skip
        assert len({mark.group for _, mark in marks if mark}) == 2

    def test_one_gpu_at_two_places_is_measured_at_the_first(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("1"), "x"))
        found = arranged(at, tmp_path)
        assert [one.place for one in found.begun] == ["a"]
        (left,) = found.left_out
        assert left.place == "b"
        assert left.why.startswith("it is on the GPU that a is on, too; give each worker its own")

    def test_processes_of_one_cpu_are_all_measured(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        at = site(monkeypatch, ("a", Unit("1", CPU), "x"), ("b", Unit("1", CPU), "x"))
        found = arranged(at, tmp_path)
        assert [one.place for one in found.begun] == ["a", "b"]
        assert found.left_out == ()

    def test_where_others_have_gpus_a_cpu_is_no_substitute(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2", CPU), "y"))
        found = arranged(at, tmp_path)
        assert [one.place for one in found.begun] == ["a"]
        assert [(left.place, left.why[:35]) for left in found.left_out] == [
            ("b", "it has no GPU to measure, as others")
        ]

    def test_a_place_of_another_version_is_left_out_by_name(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "y"))
        start = at.start

        def old(place: str, number: int, job: bytes) -> None:
            monkeypatch.setattr(member, "VERSION", "0.1.0" if place == "b" else "x.y")
            start(place, number, job)

        at.start = old  # type: ignore[method-assign]
        monkeypatch.setattr("bench.run.several.VERSION", "x.y")
        found = arranged(at, tmp_path)
        assert [one.place for one in found.begun] == ["a"]
        assert [left.why for left in found.left_out] == [
            "it has chipbench 0.1.0, and this is x.y; install the same version on both"
        ]

    def test_a_place_that_cannot_measure_says_why(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "y"))
        at.faults = {}
        look = at.choose

        def broken(name: str, index: int | None = None) -> object:
            if at._here == "b":
                message = "no NVIDIA driver answers here"
                raise BackendUnavailable(message)
            return look(name, index)

        monkeypatch.setattr(member, "choose", broken)
        assert [(one.place, one.why) for one in arranged(at, tmp_path).left_out] == [
            ("b", "no NVIDIA driver answers here")
        ]

    def test_with_nothing_left_the_first_reason_is_the_error(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def refused(*_: object) -> object:
            message = "no NVIDIA driver answers here"
            raise BackendUnavailable(message)

        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "y"))
        monkeypatch.setattr(member, "choose", refused)
        with pytest.raises(BackendUnavailable, match=r"^a: no NVIDIA driver answers here \(and 1 more\)$"):
            arranged(at, tmp_path)

    def test_a_chip_is_known_by_what_its_place_tells_and_named_here(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        told = msgspec.structs.replace(GPU, memory_bytes=85_520_809_984)
        at = site(monkeypatch, ("a", Unit("1", told), "x"))
        device = arranged(at, tmp_path).begun[0].header.device
        assert (device.chip, device.folder) == (None, "unknown-simulated")


class TestPlan:
    def test_the_first_of_a_kind_settles_the_plan_for_all(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        other = msgspec.structs.replace(GPU, folder="unknown-other")
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "y"), ("c", Unit("3", other), "z"))
        at.resolve = lambda unit, _wish: CELLS[: int(unit._own)]
        found = arranged(at, tmp_path)
        assert at.jobs(member.Resolve) == ["a", "c"]
        assert [len(one.header.plan.cells) for one in found.begun] == [1, 1, 3]
        assert found.notes == ("planned for 1", "planned for 3")

    def test_what_is_refused_with_a_reason_is_refused_for_the_whole_kind(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def refused(*_: object) -> object:
            message = "fp8 is not measured here"
            raise InvalidRequest(message)

        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "y"))
        monkeypatch.setattr(member, "resolve", refused)
        with pytest.raises(InvalidRequest, match=r"^a: fp8 is not measured here \(and 1 more\)$"):
            arranged(at, tmp_path)
        assert at.jobs(member.Resolve) == ["a"]

    def test_copies_between_gpus_are_planned_for_each_and_among_the_chosen(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        gpus = [msgspec.structs.replace(GPU, index=index) for index in (0, 2, 5)]
        at = site(monkeypatch, *((f"gpu {gpu.index}", Unit(str(gpu.index), gpu), "x") for gpu in gpus))
        asked: dict[str, list[int]] = {}

        def resolve(unit: Unit, wish: Wish) -> tuple[object, ...]:
            asked[unit._own] = [*wish.peers]
            return CELLS

        at.resolve = resolve  # type: ignore[assignment]
        indices = {f"gpu {gpu.index}": gpu.index for gpu in gpus}
        arrange(at, request(tmp_path, wish=Wish(workload="p2p")), KEY, indices=indices, together=False)
        assert asked == {"0": [2, 5], "2": [0, 5], "5": [0, 2]}


class TestLoad:
    @pytest.mark.parametrize(("together", "expected"), [(False, [ALONE] * 3), (True, [TOGETHER, TOGETHER, ALONE])])
    def test_gpus_of_a_machine_are_together_only_if_that_is_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, together: bool, expected: list[str]
    ) -> None:
        at = site(monkeypatch, ("a", Unit("1"), "x"), ("b", Unit("2"), "x"), ("c", Unit("3"), "y"))
        found = arranged(at, tmp_path, together=together)
        assert loads(found) == expected
        members = [one.header.member for one in found.begun]
        assert [one.at_once for one in members if one] == [2 if load == TOGETHER else 1 for load in expected]

    def test_processes_of_one_cpu_are_together_whatever_is_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        units = [Unit(name, CPU) for name in "112"]
        at = site(monkeypatch, *zip("abc", units, "xxy", strict=True))
        assert loads(arranged(at, tmp_path)) == [TOGETHER, TOGETHER, ALONE]
