"""What a comparison is asked for, where it makes no sense: one line, the right exit code, nothing that hangs."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.command import chipbench
from tests.support import CELLS, header, write_record
from tests.test_compare_command import CPU, pair, saved

GPUS = ("h20", "h100")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((*GPUS, "--fail-on", "slower"), "--fail-on needs the first and another side to be measured runs"),
        (("published:h20", "published:h100", "--fail-on", "slower"), "--fail-on needs"),
        (("", "h20"), "an empty name stands for nothing"),
        (("published:h100", "published:h100-sxm5-80gb"), "published:h100-sxm5-80gb is named twice"),
        (("published:gh200", "h100"), "nobody's measurements are known here; did you mean"),
        (("latest", "--sane", "--fail-on", "slower"), "--fail-on unsane goes with --sane"),
        (("latest", "--sane", "--allow", "ecc"), "--sane draws no verdict"),
    ],
)
def test_what_cannot_mean_anything_is_a_usage_error(args: tuple[str, ...], said: str) -> None:
    answer = chipbench("compare", *args)
    assert answer.code == 2
    assert said in answer.err.splitlines()[-1]
    assert "Traceback" not in answer.err


def test_a_run_against_a_peak_meets_no_condition(tmp_path: Path) -> None:
    answer = chipbench("compare", saved(tmp_path / "a", [1.0]), "h100", "--fail-on", "slower")
    assert answer.code == 2


def test_what_has_no_verdict_is_counted_beside_a_condition(tmp_path: Path) -> None:
    a, b = pair(tmp_path, {"factors": [1.0]}, {"factors": [1.01]})
    answer = chipbench("compare", a, b, "--fail-on", "slower:5%")
    assert answer.code == 0
    assert "without a verdict: 1" in answer.err


def test_a_pipe_in_a_folder_is_named_and_not_waited_for(tmp_path: Path) -> None:
    a, b = pair(tmp_path, {}, {})
    os.mkfifo(a / "pipe.jsonl")
    answer = chipbench("compare", a, b)
    assert answer.code == 4
    assert "pipe.jsonl: is no ordinary file" in answer.err
    assert chipbench("compare", a, b, "--skip-bad").code == 0


def test_copies_of_a_record_are_no_further_processes(tmp_path: Path) -> None:
    a, b = (saved(tmp_path / name, [factor]) for name, factor in (("a", 1.0), ("b", 1.05)))
    for folder in (a, b):
        (record,) = folder.rglob("*.jsonl")
        for number in range(2):
            record.with_name(f"copy{number}.jsonl").write_bytes(record.read_bytes())
    answer = chipbench("compare", a, b, "--fail-on", "slower")
    assert answer.code == 0
    assert "left out, as copies of records that are there already: 2\n" in answer.err


def test_an_interrupted_record_is_said_to_be_one(tmp_path: Path) -> None:
    a = saved(tmp_path / "a", [1.0])
    write_record(tmp_path / "b", header(CELLS, ident="cccccccc"), complete=False)
    answer = chipbench("compare", a, tmp_path / "b")
    assert "interrupted, so that cells may be missing: 1 of 1 records" in answer.err


@pytest.mark.parametrize("where", ["/dev/full", None])
def test_where_nothing_can_be_printed_it_says_so(where: str | None, tmp_path: Path) -> None:
    a, b = pair(tmp_path, {}, {})
    redirect = ">&-" if where is None else f">{where}"
    root = Path(__file__).resolve().parent.parent
    command = f'cd "{root}"; "{sys.executable}" -m bench compare "{tmp_path / a}" "{tmp_path / b}" {redirect}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert "stdout" in done.stderr


def test_a_chip_s_name_before_a_file_of_that_name_is_said(tmp_path: Path) -> None:
    saved(tmp_path / "h20", [1.0])
    answer = chipbench("compare", "published:h20", "h20")
    assert answer.code == 0
    assert "h20 is the chip; the file or folder of that name is ./h20" in answer.err


def test_cells_that_are_called_the_same_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    (plain,) = CPU
    a, b = saved(tmp_path / "a"), saved(tmp_path / "b", cells=[msgspec.structs.replace(plain, library="torch.mm")])
    error = chipbench("compare", a, b).error
    assert f"{a} has fp32 64³ (library numpy.matmul); {b} has fp32 64³ (library torch.mm)" in error
