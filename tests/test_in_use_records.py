"""Which records tell what a chip does in use, and which of their cells count."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from bench.analysis.estimates import drawn_power
from bench.analysis.pooling import Pool, pool_of
from bench.records.record import Process, read_record, reduce
from tests.command import chipbench
from tests.test_in_use_command import (
    FROM_RECORDS,
    H20,
    H100,
    H200,
    MODELS,
    R1,
    RATE,
    column,
    explained,
    llm_record,
    measured,
    needed,
    own_folder,
    section,
)
from tests.test_project_command import at, document, product, saved

__all__ = ["own_folder"]  # a fixture that every test here uses
CELLS: Final = needed(MODELS[R1])


def seconds(label: str = H200) -> list[float]:
    """Return what the steps take on a chip by its records, as `explain h20` tells."""
    (pair,) = explained(H20)[R1]["from_records"]
    return column(pair, label)


class TestWhichRecords:
    def test_a_record_counts_for_the_chip_that_it_was_measured_on_whatever_its_folder(
        self, tmp_path: Path
    ) -> None:
        made = llm_record(tmp_path / "elsewhere", H100)
        folder = tmp_path / "results" / H200
        folder.mkdir(parents=True)
        made.rename(folder / made.name)
        assert explained(H20)[R1]["from_records"] == []

    def test_all_processes_of_its_newest_run_count(self, tmp_path: Path) -> None:
        """One process is twice as fast as the other: their geometric mean is the rate."""
        fast = [at(2 * RATE, cell, watts=500.0) for cell in CELLS]
        llm_record(tmp_path / "results", process=Process(index=0, of=2, group="g"))
        alone = seconds()
        llm_record(tmp_path / "results", process=Process(index=1, of=2, group="g"), made=fast)
        assert seconds() == pytest.approx([one / 2**0.5 for one in alone])

    def test_what_there_is_to_say_of_them_is_said(self, tmp_path: Path) -> None:
        path = llm_record(tmp_path / "results", process=Process(index=0, of=3, group="g"))
        path.write_bytes(path.read_bytes().rpartition(b'{"kind":"footer"')[0])
        said = chipbench("explain", H20).err
        assert "interrupted, so that cells may be missing" in said
        assert "holds 1 of the 3 processes of a run" in said

    def test_a_newer_file_that_is_no_record_is_told_of(self, tmp_path: Path) -> None:
        path = llm_record(tmp_path / "results")
        path.with_name("20990101T000000Z-ffffffff.jsonl").write_text("no record\n", encoding="utf-8")
        answer = chipbench("explain", H20)
        assert answer.code == 0
        assert "skipped: " in answer.err
        assert "20990101T000000Z-ffffffff.jsonl" in answer.err
        assert section(answer.out, FROM_RECORDS)

    def test_a_folder_of_others_records_tells_nothing(self, tmp_path: Path) -> None:
        saved(tmp_path / "results" / H200)
        assert explained(H20)[R1]["from_records"] == []


class TestWhichCells:
    @pytest.mark.parametrize("change", [{"data": "zeros"}, {"regime": "burst"}])
    def test_rates_that_are_not_usual_do_not_count_as_the_fastest(
        self, change: dict[str, str], tmp_path: Path
    ) -> None:
        llm_record(tmp_path / "results")
        plain = seconds()
        others = [at(9 * RATE, msgspec.structs.replace(cell, **change)) for cell in CELLS]
        llm_record(tmp_path / "results", made=[*measured(CELLS), *others])
        assert seconds() == pytest.approx(plain)

    @pytest.mark.parametrize("order", [1, -1])
    def test_of_two_libraries_the_faster_one_is_projected(self, order: int, tmp_path: Path) -> None:
        ones = [at(6e14, product()), at(7e14, product(library="cupy.matmul"))][::order]
        (cell,) = document(saved(tmp_path / "a", ones))["cells"]
        assert (cell["library"], cell["source_rate"]) == ("cupy.matmul", pytest.approx(7e14))

    def test_the_energy_of_a_projection_is_that_of_the_slow_end(self, tmp_path: Path) -> None:
        """The most that it may be: the board's 400 W for as long as it may take."""
        llm_record(tmp_path / "results")
        ((projected, _),) = explained(H20)[R1]["from_records"]
        for step in projected["steps"]:
            assert step["seconds_hi"] > step["seconds"]
            assert step["j_per_token"] == pytest.approx(400 * step["seconds_hi"] / step["tokens"])


class TestPower:
    def test_the_energy_counter_comes_before_the_sensor(self) -> None:
        """Which on some chips sees a quarter of the time."""
        one = at(6e14, product(), watts=500.0)
        assert one.telemetry is not None
        counted = msgspec.structs.replace(one.telemetry, energy_j=6900.0, energy_s=10.0)
        assert drawn_power(reduce(one)) == 500.0
        assert drawn_power(reduce(msgspec.structs.replace(one, telemetry=counted))) == pytest.approx(690.0)
        assert drawn_power(reduce(msgspec.structs.replace(one, telemetry=None))) is None


class TestPool:
    def test_parts_that_were_read_apart_make_the_same_side(self, tmp_path: Path) -> None:
        """Power, workloads and tiles too, as records are read in several processes where there are many."""
        tiled = {"algorithm": {"tile": "64x128", "split_k": 1}}
        first = msgspec.structs.replace(at(6e14, product(), watts=400.0), **tiled)
        paths = [
            saved(tmp_path / "a", [first]),
            saved(tmp_path / "a", [at(6e14, product(), watts=900.0)], workload="llm"),
            saved(tmp_path / "a", [at(5e14, product(m=512))], workload="skinny"),
        ]
        whole = pool_of(paths).side("here", lambda _: None)
        joined = Pool()
        for path in paths:
            part = Pool()
            part.add(read_record(path))
            joined.extend(part)
        apart = joined.side("here", lambda _: None)
        for name in ("watts", "workloads", "tilings", "clocks"):
            assert getattr(apart, name) == getattr(whole, name), name
        assert whole.watts[product()] == pytest.approx(600.0)
        assert whole.workloads[product()] == {"gemm", "llm"}
        assert whole.tilings[product()].m == 128
