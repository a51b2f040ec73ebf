"""What `compare` prints and makes fail: clocks, peaks, gates, JUnit and every format of one comparison."""

import csv
import io
import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.measure.measurement import Measurement
from bench.records.record import Process, read_lines
from bench.report.formats import FORMATS
from bench.workloads import gemm
from tests import make_simulated
from tests.command import Answer, chipbench
from tests.support import CELLS, FAILED, cell, header, measurement, write_record
from tests.test_compare_command import CPU, GPU, H20, H100, THREE, compared, pair, saved

LINES: Final = read_lines(make_simulated.PATH)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


class TestAbsent:
    def test_without_a_common_cell_it_says_which_each_has(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"cells": CELLS[:1]}, {"cells": CELLS[1:]})
        answer = chipbench("compare", a, b)
        assert answer.code == 4
        assert f"{a} has fp32 64³; {b} has fp64 64³, fp32 96³" in answer.error

    def test_a_cell_that_failed_is_in_no_rate_and_named(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"cells": CELLS}, {"cells": CELLS[:2], "failed": CELLS[1:2]})
        document = compared(a, b)
        assert [row["cell"] for row in document["rows"]] == [CELLS[0].key]
        assert document["absent"] == [
            {"cell": CELLS[1].key, "side": str(b), "reason": "failed", "at": str(b)},
            {"cell": CELLS[2].key, "side": str(b), "reason": "missing", "at": str(b)},
        ]
        text = chipbench("compare", a, b).text
        assert f"{b}: failed their check in some process, and are not compared: fp64 64³ by numpy.matmul" in text
        assert f"left out of {a}, as no other side has them: fp64 64³, fp32 96³" in text

    def test_a_side_that_lacks_a_cell_has_its_verdicts_of_the_others(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"cells": CELLS}, {"cells": CELLS})
        c = saved(tmp_path / "c", [2.0, 2.01, 2.02], cells=CELLS[:1])
        lines = chipbench("compare", a, b, c).out.splitlines()
        assert [line.split("  ")[-1].strip() for line in lines if line.startswith("fp")] == ["slower", "–", "–"]

    def test_a_cell_that_failed_in_one_process_of_several_is_named_and_not_in_the_rate(
        self, tmp_path: Path
    ) -> None:
        a, b = pair(tmp_path, {}, {})
        before = compared(a, b)["rows"][0]["sides"][1]
        saved(b, [9.0], failed=CPU)
        after = compared(a, b)["rows"][0]["sides"][1]
        assert (after["rate"], after["processes"]) == (before["rate"], 3)


def clocked(results: Path, seconds: float, clock_hz: float, **fields: Any) -> Path:  # noqa: ANN401
    """Write three processes whose calls take so long at that clock, 0.3 % apart, and return their folder."""
    for index, factor in enumerate(THREE):
        plain = header(GPU, ident=f"{results.name}{index:07x}")
        device = msgspec.structs.replace(plain.device, **{**H100, **fields})
        whole = [measurement(one, [factor * seconds] * 8) for one in GPU]
        columns = {"sm_clock_hz": (clock_hz,) * 8, "cycles_per_call": (factor * seconds * clock_hz,) * 8}
        made = [msgspec.structs.replace(m, samples=msgspec.structs.replace(m.samples, **columns)) for m in whole]
        write_record(results, msgspec.structs.replace(plain, device=device), made)
    return results.relative_to(Path.cwd())


def notes(*args: str | Path) -> str:
    answer = chipbench("compare", *args)
    assert answer.code == 0, answer.err
    return answer.text


class TestClock:
    def test_the_same_cycles_at_another_clock_say_that_the_clock_moved(self, tmp_path: Path) -> None:
        a, b = clocked(tmp_path / "a", 2.0e-3, 1.5e9), clocked(tmp_path / "b", 2.1e-3, 1.5e9 / 1.05)
        text = notes(a, b)
        assert "bf16 8192³: the clock moved (1.500 GHz against 1.429 GHz)" in text
        assert f"{b} has 0.9524× the rate, but 1.000× in clock cycles" in text
        (row,) = compared(a, b)["rows"]
        moved = row["sides"][1]["clock_moved"]
        assert moved == pytest.approx(
            {"ratio": 1 / 1.05, "ratio_per_cycle": 1, "first_hz": 1.5e9, "this_hz": 1.5e9 / 1.05}
        )
        assert row["sides"][1]["verdict"] == "slower", "it is slower all the same"
        c = clocked(tmp_path / "c", 2.1e-3, 1.5e9 / 1.1)
        moved = compared(a, c)["rows"][0]["sides"][1]["clock_moved"]
        assert moved["ratio_per_cycle"] == pytest.approx(1.1 / 1.05), "and it needs fewer cycles"

    def test_cycles_that_differ_as_much_as_seconds_need_no_such_note(self, tmp_path: Path) -> None:
        a, b = clocked(tmp_path / "a", 2.0e-3, 1.5e9), clocked(tmp_path / "b", 2.1e-3, 1.5e9)
        assert "the clock moved" not in notes(a, b)
        assert compared(a, b)["rows"][0]["sides"][1]["clock_moved"] is None

    def test_of_two_products_clocks_differ_anyway(self, tmp_path: Path) -> None:
        a, b = clocked(tmp_path / "a", 2.0e-3, 1.5e9), clocked(tmp_path / "b", 2.1e-3, 1.9e9, **H20)
        assert "the clock moved" not in notes(a, b)


class TestAbovePeak:
    """The H100's 989.4 TFLOPS in BF16 are 1.111 ms for 8192³, at 1.83 GHz as far as they tell."""

    @pytest.mark.parametrize("peak_first", [False, True])
    def test_predictable_data_explain_it(self, tmp_path: Path, *, peak_first: bool) -> None:
        constant = gemm.cells(["bf16"], [gemm.square(8192)], library="cublaslt", l2="rotate", data="constant")
        a = saved(tmp_path / "a", [1.05], constant, device=H100)
        sides = ("h100-sxm5-80gb", a) if peak_first else (a, "h100-sxm5-80gb")
        where = f"{a} in bf16 8192³ (constant) by cublaslt"
        assert f"above its published peak: {where}: predictable data take less power than" in notes(*sides)

    def test_a_clock_above_the_sheet_s_explains_it(self, tmp_path: Path) -> None:
        a = clocked(tmp_path / "a", 1.05e-3, 1.98e9)
        for others in (["h100-sxm5-80gb"], ["h20-96gb"], [clocked(tmp_path / "b", 2e-3, 1.98e9)]):
            said = "the clock was above that of the sheet's peak"
            assert f"above its published peak: {a} in bf16 8192³ by cublaslt: {said}" in notes(a, *others)

    def test_without_a_clock_what_may_be_is_listed(self, tmp_path: Path) -> None:
        a = saved(tmp_path / "a", [1.05], GPU, device=H100)
        assert (
            f"{a} in bf16 8192³ by cublaslt: a clock above the sheet's, a lower accumulate precision, or"
            in notes(a, "h20-96gb")
        )

    def test_a_clock_at_which_no_such_chip_reaches_it_does_not(self, tmp_path: Path) -> None:
        a = clocked(tmp_path / "a", 1.05e-3, 1.2e9)
        text = notes(a, "h100-sxm5-80gb")
        said = "the clock, the FLOP per clock or the product is another than assumed"
        assert f"above its peak at the clock held: {a} in bf16 8192³ by cublaslt: {said}" in text
        assert "at a lower clock" not in text

    def test_above_another_product_s_peak_is_no_wonder(self, tmp_path: Path) -> None:
        a = clocked(tmp_path / "a", 1.5e-3, 1.5e9)
        assert compared(a, "h20-96gb")["rows"][0]["sides"][1]["of_peak"] > 4
        assert "above its published peak" not in notes(a, "h20-96gb")

    @pytest.mark.parametrize("of_clock", [0.9, 1.005, 1.2])
    def test_what_is_below_the_published_peak_is_not_said_to_be_above_it(
        self, of_clock: float, tmp_path: Path
    ) -> None:
        """At 1.2 GHz the H100's peak is 649 TFLOP/s: what is above that may be far below the published one."""
        a = clocked(tmp_path / "a", 2 * 8192**3 / (of_clock * 132 * 4096 * 1.2e9), 1.2e9)
        text = notes(a, "h100-sxm5-80gb")
        assert "above its published peak" not in text
        assert ("the product is another than assumed" in text) == (of_clock > 1.01)


class TestHostLimited:
    def test_beside_a_peak_it_is_called_that_and_not_left_out(self, tmp_path: Path) -> None:
        a = saved(tmp_path / "a", [2.0], GPU, device=H100, codes=["launch_bound"])
        for sides in ((a, "h100-sxm5-80gb"), ("h100-sxm5-80gb", a)):
            answer = chipbench("compare", *sides)
            assert answer.code == 0, answer.err
            assert "host-limited" in answer.text
            assert "left out" not in answer.text


def gated(*args: str | Path, on: Sequence[str]) -> Answer:
    return chipbench("compare", *args, *(f"--fail-on={gate}" for gate in on))


def slower(tmp_path: Path, factor: float) -> tuple[Path, Path]:
    return pair(tmp_path, {}, {"factors": [factor * one for one in THREE]})


class TestFailOn:
    @pytest.mark.parametrize(
        ("gate", "factor", "trips"),
        [
            ("slower", 1.07, True),
            ("slower", 1.0, False),
            ("slower", 1 / 1.1, False),
            ("slower:5", 1 / 0.94, True),
            ("slower:5", 1 / 0.96, False),
            ("slower:0", 1.07, True),
            (" SLOWER:5 ", 1 / 0.94, True),
            ("not-comparable", 2.0, False),
        ],
    )
    def test_slower_is_a_verdict_and_a_share(self, gate: str, factor: float, trips: bool, tmp_path: Path) -> None:
        a, b = slower(tmp_path, factor)
        answer = gated(a, b, on=[gate])
        assert answer.out == chipbench("compare", a, b).out, "the answer is the same, whatever it makes fail"
        if not trips:
            assert (answer.code, answer.err) == (0, "")
            return
        assert answer.code == 6
        (line,) = answer.err.splitlines()
        words = {"slower": "slower", "slower:5": "slower by 5 % or more", "slower:0": "slower"}
        asked = gate.strip().lower()
        assert line == f"chipbench: --fail-on: fp32 64³: {b} is {words[asked]}"
        (tripped,) = json.loads(gated(a, b, "--format", "json", on=[gate]).out)["tripped"]
        assert (tripped["side"], tripped["fail_on"]) == (str(b), asked)

    def test_a_difference_that_nothing_is_sure_of_is_not_slower(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"factors": [1]}, {"factors": [1.1]})
        assert gated(a, b, on=["slower", "slower:5", "not-comparable"]).code == 0

    def test_surroundings_that_differ_are_not_comparable(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"settings": {"cores": "2"}}, {"settings": {"cores": "4"}})
        answer = gated(a, b, on=["not-comparable"])
        assert answer.code == 6
        assert answer.err == f"chipbench: --fail-on: fp32 64³: {b} is not comparable\n"
        assert gated(a, b, on=["slower"]).code == 0
        assert gated(a, b, "--allow", "cores", on=["not-comparable"]).code == 0

    def test_a_cell_that_is_missing_or_failed_is_not_comparable(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"cells": CELLS}, {"cells": CELLS[:2], "failed": CELLS[1:2]})
        answer = gated(a, b, on=["not-comparable"])
        assert answer.code == 6
        assert answer.err.count("is not comparable") == 2
        assert [name in answer.err for name in ("fp32 64³", "fp64 64³", "fp32 96³")] == [False, True, True]
        assert gated(a, b, on=["slower"]).code == 0

    def test_of_several_conditions_each_trips_for_itself(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"cells": CELLS[:2]}, {"cells": CELLS[:1], "factors": [1.1, 1.103, 1.097]})
        answer = gated(a, b, "--format", "json", on=["slower:5", "not-comparable"])
        assert answer.code == 6
        found = [(one["cell"], one["fail_on"]) for one in json.loads(answer.out)["tripped"]]
        assert found == [(CELLS[0].key, "slower:5"), (CELLS[1].key, "not-comparable")]

    def test_one_cell_is_told_once_however_many_conditions_ask_for_it(self, tmp_path: Path) -> None:
        a, b = slower(tmp_path, 1.1)
        assert gated(a, b, on=["slower", "slower:5"]).err.count("is slower") == 1

    def test_beside_many_cells_the_first_few_are_named_and_the_rest_counted(self, tmp_path: Path) -> None:
        cells = [cell(8 * size) for size in range(1, 9)]
        a, b = pair(tmp_path, {}, {"factors": [1.1, 1.103, 1.097]}, cells=cells)
        answer = gated(a, b, on=["slower"])
        assert answer.err.count("is slower") == 5
        assert answer.err.endswith(" and 3 more\n")

    @pytest.mark.parametrize(
        "gate",
        ["slower:x", "slower:", "slower:-1", "slower:100", "slower:nan", "slower:inf", "nonsense", "", "unsane",
         "not-comparable:5", "slower:5:5"],
    )  # fmt: skip
    def test_what_is_no_condition_is_a_usage_error(self, gate: str, tmp_path: Path) -> None:
        a, b = slower(tmp_path, 1.1)
        answer = gated(a, b, on=[gate])
        assert answer.code == 2
        assert "--fail-on" in answer.error


def suite(answer: Answer) -> ET.Element:
    (found,) = ET.fromstring(answer.out)
    return found


class TestJUnit:
    def test_failures_are_exactly_what_tripped_and_counts_are_those_of_the_cases(self, tmp_path: Path) -> None:
        """Of five cells one is 10 % slower, two are the same, one failed and one is missing."""
        cells = [*CELLS, cell(128), cell(160)]
        a, b = saved(tmp_path / "a", THREE, cells), tmp_path / "b"
        for index, factor in enumerate(THREE):
            seconds = [1.1e-3 * factor, 1e-3 * factor, 1e-3 * factor, 1e-3]
            made = [measurement(one, [value] * 8) for one, value in zip(cells, seconds, strict=False)]
            made[3] = measurement(cells[3], check=FAILED)
            write_record(b, header(cells[:4], ident=f"bbbbbbb{index}"), made)
        answer = gated(a, b, "--format", "junit", on=["slower:5"])
        assert answer.code == 6
        found = suite(answer)
        outcomes = {str(case.get("name")).split(":")[0]: [child.tag for child in case] for case in found}
        assert outcomes == {
            "fp32 64³ numpy.matmul": ["failure"],
            "fp64 64³ numpy.matmul": ["system-out"],
            "fp32 96³ numpy.matmul": ["system-out"],
            "fp32 128³ numpy.matmul": ["skipped"],
            "fp32 160³ numpy.matmul": ["skipped"],
        }
        counts = {name: found.get(name) for name in ("tests", "failures", "skipped", "errors")}
        assert counts == {"tests": "5", "failures": "1", "skipped": "2", "errors": "0"}
        (failure,) = found.findall("testcase/failure")
        assert str(failure.get("message")).startswith("slower")
        missing = suite(gated(a, b, "--format", "junit", on=["not-comparable"]))
        messages = [str(one.get("message")) for one in missing.findall("testcase/failure")]
        expected = [f"not comparable: failed its check in {b}", f"not comparable: not measured in {b}"]
        assert messages == expected

    def test_without_a_condition_nothing_fails(self, tmp_path: Path) -> None:
        answer = chipbench("compare", *slower(tmp_path, 2.0), "--format", "junit")
        assert (answer.code, suite(answer).get("failures")) == (0, "0")

    def test_a_label_survives_whatever_it_holds(self, tmp_path: Path) -> None:
        odd = tmp_path / """a <b> & "c" 'd' ]]>"""
        a = saved(odd, THREE)
        b = saved(tmp_path / "b", [1.1, 1.103, 1.097])
        for sides in ((a, b), (b, a)):
            answer = gated(*sides, "--format", "junit", on=["slower"])
            (case,) = suite(answer)
            assert case.get("name") == f"fp32 64³ numpy.matmul: {sides[1]} against {sides[0]}"

    def test_beside_a_peak_nothing_is_judged(self, tmp_path: Path) -> None:
        answer = chipbench("compare", saved(tmp_path / "a"), "h20-96gb", "--format", "junit")
        assert suite(answer).get("tests") == "0"


def h100_run(results: Path, group: str, driver: str, slowed: Mapping[str, float]) -> Path:
    """Write three processes of the simulated H100, each 0.2 % or so apart; the cells `slowed` by a factor."""
    for index in range(3):
        noise = random.Random(f"{group} {index}")
        made = [_longer(one, noise.gauss(1, 0.002), slowed) for one in LINES.measurements]
        environment = LINES.header.environment
        head = msgspec.structs.replace(
            LINES.header,
            id=f"{group}{index:07x}",
            started=f"2026-01-02T03:1{index}:05Z",
            process=Process(index=index, of=3, group=group),
            environment=msgspec.structs.replace(environment, versions={**environment.versions, "driver": driver}),
        )
        write_record(results, head, made)
    return results


def _longer(of: Measurement, factor: float, slowed: Mapping[str, float]) -> Measurement:
    factor *= slowed.get(f"{of.cell.dtype_label} {of.cell.library}", 1.0)
    columns = of.samples.columns()
    names = ("seconds_per_call", "cycles_per_call")
    longer = {name: tuple(factor * value for value in columns[name]) for name in names}
    return msgspec.structs.replace(of, samples=msgspec.structs.replace(of.samples, **longer))


class TestFormats:
    @pytest.fixture
    def sides(self, tmp_path: Path) -> tuple[str, str, str]:
        """Two runs of the simulated H100, whose FP16 became 4 % slower under another driver, and the H20."""
        h100_run(tmp_path / "before", "a", "580.65.06", {})
        h100_run(tmp_path / "after", "b", "580.95.05", {"fp16 cublaslt": 1.04})
        return ("before", "after", "h20-96gb")

    def test_a_comparison_of_gpus_looks_like_its_golden_file(
        self, sides: tuple[str, str, str], golden: Callable[[str, str], None]
    ) -> None:
        answer = chipbench("compare", *sides)
        assert (answer.code, answer.err) == (0, "")
        golden("compare-gpu.txt", answer.out)

    @pytest.mark.parametrize("name", FORMATS)
    def test_every_format_prints_it(self, name: str, sides: tuple[str, str, str]) -> None:
        answer = chipbench("compare", *sides, "--format", name)
        assert (answer.code, answer.err) == (0, "")
        for text in ("fp16", "slower", "after", "before"):
            assert text in answer.out

    def test_csv_has_a_row_for_every_side_and_cell(self, sides: tuple[str, str, str]) -> None:
        answer = chipbench("compare", *sides, "--format", "csv")
        rows = [*csv.DictReader(io.StringIO(answer.out))]
        of_cells = {(row["side"], row["dtype"], row["fast_accumulate"], row["library"]) for row in rows}
        assert len(of_cells) == len(rows)
        cells = len(LINES.measurements)
        without_peak = 1  # nobody published FP16 with short sums of the H20
        assert [sum(row["side"] == side for row in rows) for side in sides] == [cells, cells, cells - without_peak]
        document = compared(*sides)
        (slow,) = [row for row in rows if row["verdict"] == "slower"]
        assert (slow["side"], slow["dtype"], slow["library"]) == ("after", "fp16", "cublaslt")
        assert float(slow["ratio"]) == pytest.approx(1 / 1.04, rel=0.005)
        assert float(slow["ratio_hi"]) < 1 - 0.005
        assert len(document["rows"]) == cells


class TestLabels:
    def test_two_files_of_one_name_are_told_apart_by_their_folders(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"factors": [1]}, {"factors": [1]})
        (first,), (second,) = a.rglob("*.jsonl"), b.rglob("*.jsonl")
        assert compared(first, second)["sides"][0]["label"] == first.name
        second = second.rename(second.with_name(first.name))
        assert [side["label"] for side in compared(first, second)["sides"]] == [str(first), str(second)]


class TestSane:
    @pytest.mark.parametrize("device", [{}, {"kind": "gpu", "name": "NVIDIA H20", "folder": "unknown-2336"}])
    def test_what_is_no_known_chip_cannot_be_held_against_anything(
        self, device: Mapping[str, str], tmp_path: Path
    ) -> None:
        a = saved(tmp_path / "a", device=device)
        answer = chipbench("compare", a, "--sane")
        assert answer.code == 2
        assert f"{a}: {device.get('name', 'A simulated device')} is no known chip" in answer.error

    def test_it_judges_one_run(self, tmp_path: Path) -> None:
        a, b = saved(tmp_path / "a"), saved(tmp_path / "b")
        for names in ((a, b), (a, "h20-96gb"), ("h20-96gb",), ("published:h20-96gb",)):
            answer = chipbench("compare", *names, "--sane")
            assert answer.code == 2
            assert "--sane judges" in answer.error
