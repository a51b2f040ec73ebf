"""`bench.load_results`: the door for notebooks."""

import shutil
from pathlib import Path

import msgspec
import pandas as pd
import pytest

import bench
from bench.devices.base import Caveat
from bench.errors import RecordError
from tests.support import CELLS, header, measurement, write_record

RECORD = Path(__file__).parent / "data" / "readme.jsonl"


def test_a_row_per_measurement_with_rates_in_base_units() -> None:
    frame = bench.load_results(RECORD)
    assert list(frame["dtype"]) == ["fp64", "fp32"]
    assert (frame["rate"] * frame["seconds_per_call"]).round().tolist() == [
        2 * m * n * k for m, n, k in zip(frame["m"], frame["n"], frame["k"], strict=True)
    ]
    assert (frame["rate_lo"] <= frame["rate"]).all()
    assert (frame["rate"] <= frame["rate_hi"]).all()
    assert set(frame["unit"]) == {"flop_per_s"}
    assert isinstance(frame["started"].dtype, pd.DatetimeTZDtype)


def test_every_documented_column_is_there_and_no_other() -> None:
    frame = bench.load_results(RECORD)
    documented = (bench.load_results.__doc__ or "").split("Raises")[0].split("`")[1::2]
    assert sorted(frame.columns) == sorted(documented)


def test_only_what_the_host_limited_is_said_to_be(tmp_path: Path) -> None:
    slow = Caveat(code="launch_bound", values={"enqueue_s": 2e-3, "call_s": 2e-3})
    made = [measurement(one) for one in CELLS[:3]]
    made[1] = msgspec.structs.replace(made[1], warnings=(Caveat(code="bimodal", values={}), slow))
    made[2] = msgspec.structs.replace(made[2], warnings=(Caveat(code="bimodal", values={}),))
    frame = bench.load_results(write_record(tmp_path, header(CELLS[:3]), made))
    assert frame["host_limited"].tolist() == [False, True, False]
    assert frame["warnings"].tolist() == ["", "bimodal launch_bound", "bimodal"]


def test_a_folder_is_read_whole_and_a_damaged_file_is_not_skipped(tmp_path: Path) -> None:
    shutil.copy(RECORD, tmp_path / "one.jsonl")
    shutil.copy(RECORD, tmp_path / "two.jsonl")
    assert len(bench.load_results(tmp_path)) == 4
    (tmp_path / "two.jsonl").write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"two\.jsonl"):
        bench.load_results(tmp_path)


def test_every_damaged_file_is_named_in_one_line_or_left_out_on_request(tmp_path: Path) -> None:
    shutil.copy(RECORD, tmp_path / "one.jsonl")
    for name in ("two", "three"):
        (tmp_path / f"{name}.jsonl").write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"2 of 3 records cannot be read: .*three\.jsonl.*two\.jsonl") as caught:
        bench.load_results(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="skipped: ") as told:
        frame = bench.load_results(tmp_path, skip_bad=True)
    assert [Path(str(one.message).split(": ")[1]).name for one in told] == ["three.jsonl", "two.jsonl"]
    assert {one.filename for one in told} == {__file__}
    assert {Path(path).name for path in frame["path"]} == {"one.jsonl"}
    with pytest.raises(RecordError, match=r"two\.jsonl"):
        bench.load_results(tmp_path / "two.jsonl", skip_bad=True)


def test_an_empty_folder_says_how_to_make_a_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="chipbench run"):
        bench.load_results(tmp_path)


def test_the_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bench.nonsense
