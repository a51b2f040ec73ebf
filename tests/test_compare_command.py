"""`compare` as typed, on small records: what it refuses to compare, what it is sure of, and what it makes fail."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.devices.base import Caveat
from bench.devices.environment import FLAGGED_VARIABLES
from bench.measure.measurement import Measurement
from bench.records.record import SCHEMA, Process, read_lines
from bench.workloads import gemm
from bench.workloads.base import Cell
from tests.command import chipbench
from tests.support import FAILED, cell, header, measurement, write_record

SCHEMA_1: Final = Path(__file__).resolve().parent / "data" / "schema-1.jsonl"
CPU: Final = (cell(64),)
GPU: Final = tuple(gemm.cells(["bf16"], [gemm.square(8192)], library="cublaslt", l2="rotate"))
H100: Final = {"kind": "gpu", "name": "NVIDIA H100 80GB HBM3", "chip": "h100-sxm5-80gb"}
H20: Final = {"kind": "gpu", "name": "NVIDIA H20", "chip": "h20-96gb"}
NOISE: Final = (1, 1.0004, 0.9997, 1.0001, 0.9996, 1.0003, 1, 0.9998)
THREE: Final = (0.997, 1.0, 1.003)  # three processes, 0.3 % between two
_IDS: Final = itertools.count()


def compared(*args: str | Path) -> Any:  # noqa: ANN401 - it is JSON
    answer = chipbench("compare", *args, "--format", "json")
    assert answer.code in {0, 6}, answer.err
    return json.loads(answer.out)


def saved(
    results: Path,
    factors: Sequence[float] = (1.0,),
    cells: Sequence[Cell] = CPU,
    *,
    samples: Sequence[float] = NOISE,
    codes: Sequence[str] = (),
    failed: Sequence[Cell] = (),
    settings: Mapping[str, str] = {},
    versions: Mapping[str, str] = {},
    flagged: Mapping[str, str] = {},
    device: Mapping[str, Any] = {},
    **fields: Any,  # noqa: ANN401 - of the header
) -> Path:
    """Write one record for each process, whose calls take a millisecond × its factor.

    Returns their folder as a user in `tmp_path` would type it. `codes` are of warnings that each measurement has.
    """
    for factor in factors:
        number = next(_IDS)
        plain = header(
            cells, ident=f"{number:08x}", started=f"2026-01-02T{number // 60 % 24:02}:{number % 60:02}:00Z"
        )
        surroundings = msgspec.structs.replace(
            plain.environment,
            settings={**plain.environment.settings, **settings},
            versions={**plain.environment.versions, **versions},
            flagged={**flagged},
        )
        head = msgspec.structs.replace(
            plain,
            device=msgspec.structs.replace(plain.device, **device),
            environment=surroundings,
            **fields,
        )
        seconds = [factor * 1e-3 * value for value in samples]
        write_record(results, head, [_measured(one, seconds, codes, failed) for one in cells])
    return results.relative_to(Path.cwd()) if results.is_absolute() else results


def _measured(one: Cell, seconds: Sequence[float], codes: Sequence[str], failed: Sequence[Cell]) -> Measurement:
    if one in failed:
        return measurement(one, seconds, check=FAILED)
    made = measurement(one, seconds)
    values = {"enqueue_s": 2e-3, "call_s": 2e-3, "merged": 4.0}
    return msgspec.structs.replace(made, warnings=tuple(Caveat(code=code, values={**values}) for code in codes))


def pair(tmp_path: Path, before: Mapping[str, Any], after: Mapping[str, Any], **both: Any) -> tuple[Path, Path]:  # noqa: ANN401
    """Write two sides of three processes each that are alike but for what is given."""
    more = {"factors": THREE, **both}
    return saved(tmp_path / "a", **{**more, **before}), saved(tmp_path / "b", **{**more, **after})


def verdict(*args: str | Path) -> tuple[str, str]:
    (row,) = compared(*args)["rows"]
    return row["sides"][1]["verdict"], row["sides"][1]["reason"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


BLOCKING: Final[list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]] = [
    ("power_limit_w", {"settings": {"power_limit_w": "700.0"}}, {"settings": {"power_limit_w": "500.0"}}),
    ("ecc", {"settings": {"ecc": "true"}}, {"settings": {"ecc": "false"}}),
    ("mig", {"settings": {"mig": "false"}}, {"settings": {"mig": "true"}}),
    ("application_clock_hz", {"settings": {"application_clock_hz": "1.98e9"}}, {}),
    ("NVIDIA_TF32_OVERRIDE", {}, {"flagged": {"NVIDIA_TF32_OVERRIDE": "0"}}),
    ("CUBLAS_WORKSPACE_CONFIG", {"flagged": {"CUBLAS_WORKSPACE_CONFIG": ":0:0"}}, {}),
]
THREADS: Final = [name for name in FLAGGED_VARIABLES if name.endswith("_NUM_THREADS")]


class TestWhether:
    def test_another_power_limit_names_both_and_how_to_compare_all_the_same(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, *BLOCKING[0][1:], device=H100, cells=GPU)
        answer = chipbench("compare", a, b)
        assert answer.code == 0
        assert "not comparable: power_limit_w" in answer.text
        assert "power_limit_w 700.0 against 500.0" in answer.text
        assert "--allow power_limit_w" in answer.text
        allowed = chipbench("compare", a, b, "--allow", "power_limit_w")
        assert "not comparable" not in allowed.text
        assert "power_limit_w 700.0 against 500.0" in allowed.text
        assert verdict(a, b, "--allow", "power_limit_w") == ("same", "processes")

    def test_a_simulated_rate_beside_a_measured_one_is_never_compared(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"origin": "simulated"}, {}, device=H100, cells=GPU)
        assert verdict(a, b) == verdict(a, b, "--allow", "origin") == ("not comparable", "context")
        assert "--allow origin" not in chipbench("compare", a, b).text

    @pytest.mark.parametrize(("name", "before", "after"), BLOCKING)
    def test_what_sets_the_speed_of_the_same_code_blocks_until_it_is_allowed(
        self, name: str, before: Mapping[str, Any], after: Mapping[str, Any], tmp_path: Path
    ) -> None:
        a, b = pair(tmp_path, before, after, device=H100, cells=GPU)
        document = compared(a, b)
        assert [one["name"] for one in document["differences"] if one["blocking"]] == [name]
        (row,) = document["rows"]
        assert (row["sides"][1]["verdict"], row["sides"][1]["values"]) == ("not comparable", {"differs": name})
        assert row["sides"][1]["ratio"] == pytest.approx(1), "the numbers are shown all the same"
        assert verdict(a, b, "--allow", name) == ("same", "processes")
        assert verdict(a, b, "--allow", "cores")[0] == "not comparable"

    @pytest.mark.parametrize(
        ("before", "after", "shown"),
        [
            ({"versions": {"driver": "580.1"}}, {"versions": {"driver": "570.2"}}, "driver 580.1 against 570.2"),
            ({"flagged": {"CUDA_VISIBLE_DEVICES": "set"}}, {}, "CUDA_VISIBLE_DEVICES set against not set"),
            ({"tool": "0.2.0"}, {"tool": "0.3.0"}, "chipbench 0.2.0 against 0.3.0"),
            ({"warnings": (Caveat(code="hot"),)}, {}, "hot yes against no"),
            *(({"flagged": {name: "2"}}, {}, f"{name} 2 against not set") for name in THREADS),
        ],
    )
    def test_what_is_often_the_question_itself_is_only_shown(
        self, before: Mapping[str, Any], after: Mapping[str, Any], shown: str, tmp_path: Path
    ) -> None:
        a, b = pair(tmp_path, before, after, device=H100, cells=GPU)
        answer = chipbench("compare", a, b)
        assert shown in answer.text
        assert "--allow" not in answer.text
        assert verdict(a, b) == ("same", "processes")

    def test_two_alike_have_no_difference(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {}, {})
        assert compared(a, b)["differences"] == []
        assert "different between" not in chipbench("compare", a, b).text
        assert "power_limt_w" in chipbench("compare", a, b, "--allow", "power_limt_w").err, "it allows nothing"

    @pytest.mark.parametrize("name", ["blas_threads", "cores", "blas_architecture"])
    def test_the_threads_of_one_cpu_block_and_those_of_two_do_not(self, name: str, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"settings": {name: "2"}}, {"settings": {name: "64"}})
        assert verdict(a, b) == ("not comparable", "context")
        other = saved(tmp_path / "c", THREE, settings={name: "64"}, device={"name": "Another processor"})
        assert verdict(a, other) == ("same", "processes")

    def test_two_products_at_their_own_power_limits_are_comparable(self, tmp_path: Path) -> None:
        at_default = {"settings": {"power_limit_w": "700.0"}, "device": H100}
        a, b = pair(tmp_path, at_default, {"settings": {"power_limit_w": "500.0"}, "device": H20}, cells=GPU)
        assert verdict(a, b) == ("same", "processes")
        lowered = Caveat(code="power_limit", values={"watts": 400.0, "default": 500.0})
        c = saved(tmp_path / "c", THREE, GPU, settings={"power_limit_w": "400.0"}, device=H20, warnings=(lowered,))
        assert verdict(a, c) == ("not comparable", "context")
        assert "power_limit_w default against 400.0" in chipbench("compare", a, c).text

    def test_a_side_whose_own_processes_differ_is_comparable_with_nothing(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {}, {}, settings={"power_limit_w": "700.0"}, device=H100, cells=GPU)
        saved(b, (1.0,), GPU, settings={"power_limit_w": "500.0"}, device=H100)
        assert verdict(a, b)[0] == "not comparable"
        assert "power_limit_w 700.0 against 700.0 or 500.0" in chipbench("compare", a, b).text


class TestHowSure:
    @pytest.mark.parametrize(("change", "expected"), [(1.03, "slower"), (1 / 1.03, "faster"), (1.0, "same")])
    @pytest.mark.parametrize(("kind", "more"), [(H100, 1.0), ({}, 1.045)])
    def test_three_processes_a_side_tell_three_per_cent_on_a_gpu_and_more_on_a_cpu(
        self, kind: Mapping[str, str], more: float, change: float, expected: str, tmp_path: Path
    ) -> None:
        """What may change from one session to the next is ±5 % on a CPU, in no interval of one session."""
        change *= more if change > 1 else 1 / more if change < 1 else 1
        a, b = pair(tmp_path, {}, {"factors": [change * factor for factor in THREE]}, device=kind)
        assert verdict(a, b) == (expected, "processes")
        (row,) = compared(a, b)["rows"]
        second = row["sides"][1]
        assert second["ratio"] == pytest.approx(1 / change)
        assert second["ratio_lo"] < second["ratio"] < second["ratio_hi"]
        assert second["processes"] == 3
        answer = chipbench("compare", a, b)
        assert expected in answer.text
        assert "each process counts as one draw" in answer.text

    @pytest.mark.parametrize("other", [{}, H100])
    def test_three_per_cent_on_a_cpu_is_the_same(self, other: Mapping[str, str], tmp_path: Path) -> None:
        a = saved(tmp_path / "a", THREE)
        b = saved(tmp_path / "b", [1.03 * factor for factor in THREE], device=other)
        assert verdict(a, b) == verdict(b, a) == ("same", "processes")
        assert "beyond ±5 %, same that it lies within ±10 %" in " ".join(chipbench("compare", a, b).text.split())

    def test_three_processes_that_scatter_as_much_as_they_differ_tell_nothing(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {}, {"factors": (1.0, 1.03, 1.06)}, device=H100, cells=GPU)
        assert verdict(a, b) == ("can't tell", "interval")
        assert "--processes 5" in chipbench("compare", a, b).text

    @pytest.mark.parametrize(("kind", "floor"), [({}, "±15 %"), (H100, "±3 %")])
    def test_one_process_a_side_and_one_per_cent_is_within_the_floor(
        self, kind: Mapping[str, str], floor: str, tmp_path: Path
    ) -> None:
        a, b = pair(tmp_path, {"factors": [1]}, {"factors": [1.01]}, device=kind)
        assert verdict(a, b) == ("can't tell", "within_floor")
        answer = chipbench("compare", a, b)
        assert floor in answer.text
        assert "--processes 3" in answer.text

    def test_one_process_a_side_tells_what_lies_beyond_the_floor(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"factors": [1]}, {"factors": [1 / 1.2]})
        assert verdict(a, b) == ("faster", "beyond_floor")
        slow = saved(tmp_path / "c", [1.2])
        assert verdict(a, slow) == ("slower", "beyond_floor")

    def test_beside_a_cpu_a_gpu_has_a_cpu_s_floor(self, tmp_path: Path) -> None:
        """What the same code shows from run to run is ±15 % there, ±3 % here."""
        cpu = saved(tmp_path / "cpu")
        for factor, reason in ((1.1, "within_floor"), (1.2, "beyond_floor")):
            gpu = saved(tmp_path / f"gpu-{factor}", [factor], device=H100)
            assert verdict(cpu, gpu)[1] == verdict(gpu, cpu)[1] == reason

    def test_one_process_against_three_must_differ_by_more_than_the_floor(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {}, {"factors": [1.05]})
        assert verdict(a, b) == ("can't tell", "within_floor")
        assert verdict(a, saved(tmp_path / "far", [1.3])) == ("slower", "repeats")
        again = saved(tmp_path / "c", [1.0])
        assert verdict(a, again)[0] == "can't tell"

    @pytest.mark.parametrize(
        ("code", "reason", "said"),
        [
            ("autocorrelated", "autocorrelated", "its blocks depend on each other"),
            ("bimodal", "bimodal", "it takes turns between two speeds"),
            ("launch_bound", "host_limited", "host-limited"),
        ],
    )
    def test_nothing_rests_on_a_doubtful_rate_however_far_apart(
        self, code: str, reason: str, said: str, tmp_path: Path
    ) -> None:
        a, b = pair(tmp_path, {}, {"factors": [2 * factor for factor in THREE]})
        assert verdict(a, b)[0] == "slower"
        saved(b, [2.0], codes=[code])
        for sides in ((a, b), (b, a)):
            assert verdict(*sides) == ("can't tell", reason)
            assert f"can't tell: {said}" in chipbench("compare", *sides).text

    def test_fewer_than_six_samples_are_no_interval_and_no_verdict(self, tmp_path: Path) -> None:
        a, b = pair(tmp_path, {"factors": [1]}, {"factors": [2], "samples": NOISE[:5]})
        assert verdict(a, b) == ("can't tell", "few_samples")
        assert "fewer than six samples" in chipbench("compare", a, b).text

    @pytest.mark.parametrize(
        "after", [[1.03, 1.033, 1.027], [1.0, 1.001, 0.999], [1.2], [1.01], [0.8, 0.81], [1.0, 1.5, 2.0]]
    )
    def test_swapped_the_verdict_is_mirrored_and_the_ratio_inverted(
        self, after: Sequence[float], tmp_path: Path
    ) -> None:
        a, b = pair(tmp_path, {}, {"factors": after})
        (there,), (back,) = (compared(*sides)["rows"] for sides in ((a, b), (b, a)))
        mirror = {"faster": "slower", "slower": "faster"}
        one, other = there["sides"][1], back["sides"][1]
        assert other["verdict"] == mirror.get(one["verdict"], one["verdict"])
        assert other["reason"] == one["reason"]
        for name, inverse in (("ratio", "ratio"), ("ratio_lo", "ratio_hi"), ("ratio_hi", "ratio_lo")):
            assert one[name] == pytest.approx(1 / other[inverse])


class TestNames:
    def test_latest_is_every_process_of_its_run_and_no_other_record(self, tmp_path: Path) -> None:
        results = saved(tmp_path / "results", [9.0])
        for index, factor in enumerate([1.0, 1.01, 1.02]):
            saved(results, [factor], process=Process(index=index, of=3, group="mine"))
        saved(results, [9.0], origin="simulated")
        before = saved(tmp_path / "before", [1.0])
        document = compared("latest", before)
        assert document["sides"][0]["records"] == 3
        (row,) = document["rows"]
        assert row["sides"][0]["processes"] == 3
        assert row["sides"][0]["rate"] == pytest.approx(2 * 64**3 / 1e-3 / (1.01 * 1.02) ** (1 / 3), rel=1e-3)
        assert " and 2 more of its processes" in chipbench("compare", "latest", before).err

    def test_latest_of_one_process_is_that_record_alone(self, tmp_path: Path) -> None:
        results = saved(tmp_path / "results", [9.0], process=Process(index=0, of=2, group="other"))
        saved(results, [1.0])
        before = saved(tmp_path / "before")
        assert compared("latest", before)["sides"][0]["records"] == 1
        assert "more of its processes" not in chipbench("compare", "latest", before).err

    def test_a_record_is_not_compared_with_itself(self, tmp_path: Path) -> None:
        folder = saved(tmp_path / "a")
        (path,) = folder.rglob("*.jsonl")
        (copy,) = saved(tmp_path / "b", origin="replayed", replay_of=path.stem.split("-")[-1]).rglob("*.jsonl")
        for sides in ((path, path), (path, folder), (folder, path), (path, copy), (copy, "h20-96gb", path)):
            answer = chipbench("compare", *sides)
            assert answer.code == 2, sides
            assert path.stem.split("-")[-1] in answer.error

    @pytest.mark.parametrize("exists", [False, True])
    def test_a_folder_without_records_holds_nothing_to_compare(self, tmp_path: Path, *, exists: bool) -> None:
        empty = tmp_path / "empty"
        if exists:
            empty.mkdir()
        answer = chipbench("compare", empty, saved(tmp_path / "a"))
        assert answer.code == (4 if exists else 2)
        assert "empty" in answer.error

    def test_records_of_two_schemas_make_one_side(self, tmp_path: Path) -> None:
        lines = read_lines(SCHEMA_1)
        assert lines.header.schema == 1
        newer = msgspec.structs.replace(lines.header, schema=SCHEMA, id="00000002", started="2026-11-24T00:00:00Z")
        folder = write_record(tmp_path / "mixed", newer, lines.measurements).parent
        (folder / "older.jsonl").write_bytes(SCHEMA_1.read_bytes())
        third = msgspec.structs.replace(newer, id="00000003")
        other = write_record(tmp_path / "other", third, lines.measurements)
        document = compared(folder, other)
        assert document["sides"][0]["records"] == 2
        assert [row["sides"][0]["processes"] for row in document["rows"]] == [2, 2]
        assert [row["sides"][1]["ratio"] for row in document["rows"]] == pytest.approx([1, 1])

    def test_a_folder_of_several_devices_is_no_side(self, tmp_path: Path) -> None:
        folder = saved(tmp_path / "a")
        saved(folder, device={"name": "Another processor"})
        answer = chipbench("compare", folder, "h20")
        assert answer.code == 4
        assert "holds records of several devices (A simulated device, Another processor)" in answer.error

    @pytest.mark.parametrize(
        ("name", "said"),
        [("h200-smx-141gb", "h200-sxm-141gb"), ("latst", "latest"), ("published:h2o", "h20"), ("published:", "")],
    )
    def test_a_misspelt_name_is_a_usage_error_with_the_nearest(self, name: str, said: str, tmp_path: Path) -> None:
        answer = chipbench("compare", saved(tmp_path / "a"), name)
        assert answer.code == 2
        assert said in answer.error

    def test_a_chip_that_nobody_measured_is_said_to_be_that(self, tmp_path: Path) -> None:
        answer = chipbench("compare", saved(tmp_path / "a"), "published:t4")
        assert answer.code == 2
        assert "t4: nobody's measurements are known here" in answer.error

    def test_every_damaged_record_of_a_folder_is_named_and_used_only_on_request(self, tmp_path: Path) -> None:
        folder, other = saved(tmp_path / "a", [1.0] * 4), saved(tmp_path / "b")
        first, second, *_ = sorted(folder.rglob("*.jsonl"))
        first.write_text("")
        second.write_text(second.read_text().replace('"stop"', '"halt"', 1))
        for sides in ((folder, other), (other, folder)):
            answer = chipbench("compare", *sides)
            assert (answer.code, answer.out) == (4, "")
            assert [str(path) in answer.err for path in (first, second)] == [True, True]
            assert "--skip-bad" in answer.err
            skipped = chipbench("compare", *sides, "--skip-bad", "--format", "json")
            assert skipped.code == 0
            assert [str(path) in skipped.err for path in (first, second)] == [True, True]
            assert sorted(side["records"] for side in json.loads(skipped.out)["sides"]) == [1, 2]

    def test_a_record_that_is_damaged_is_named_with_what_is_wrong(self, tmp_path: Path) -> None:
        (path,) = saved(tmp_path / "a").rglob("*.jsonl")
        path.write_text("")
        for skip in ((), ("--skip-bad",)):
            answer = chipbench("compare", path, "h20-96gb", *skip)
            assert answer.code == 4
            assert f"{path}: damaged record: line 1, the header, is missing" in answer.error

    def test_nothing_is_left_of_a_folder_whose_records_are_all_damaged(self, tmp_path: Path) -> None:
        folder, other = saved(tmp_path / "a", [1.0] * 2), saved(tmp_path / "b")
        for path in folder.rglob("*.jsonl"):
            path.write_text("")
        answer = chipbench("compare", folder, other, "--skip-bad")
        assert (answer.code, answer.out) == (4, "")
        assert "none of its records can be read" in answer.err
