"""What a chip means in use, as typed: the steps of language models in `explain`, in `project` and in `run`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.measure.measurement import Measurement
from bench.published.chips import Catalogue
from bench.published.models import Model, read_models
from bench.published.source import shipped_specs, specs_folders
from bench.workloads.base import Cell, Shape
from bench.workloads.llm import STEPS, products
from tests.command import chipbench
from tests.test_project_command import at, product, projected, saved

H20, H100, H200, A100 = "h20-96gb", "h100-sxm5-80gb", "h200-sxm-141gb", "a100-sxm4-80gb"
R1, LLAMA = "deepseek-r1", "llama-3-70b"
MODELS: Final = read_models([shipped_specs()])
LABELS: Final = ["decode 1", "decode 8", "decode 64", "decode 256", "prefill 4096"]
FORMATS: Final = ("table", "md", "csv", "json", "latex", "html")
# A source distribution has none of these.
COMMITTED: Final = sorted((Path(__file__).resolve().parent.parent / "results" / H200).glob("*-b66b2651.jsonl"))
RATE: Final = 1e12  # of every product of a record: its seconds are its operations / RATE
WATTS: Final = 500.0
TITLE: Final = "What it means in use"
FROM_RECORDS: Final = f"{TITLE}: DeepSeek-R1 in fp8, from records"
# Two layers of one square product: 2·M·1024²·2 operations of a step of M tokens.
TINY: Final = """\
id = "tiny"
name = "Tiny"
weights = "bf16"
source = "mine"

[sources.mine]
title = "A model of my own"
grade = "vendor"

[embedding]
rows = 1
columns = 1
dtype = "bf16"

[[matmuls]]
name = "up"
part = "dense"
n = 1024
k = 1024
layers = 2
"""


def needed(model: Model) -> list[Cell]:
    """Return the cells of a model's products in all steps."""
    ones = [one for step in STEPS for one in products(model, step)]
    return list(dict.fromkeys(product(one.matmul.dtype, one.shape.m, one.shape.n, one.shape.k) for one in ones))


def measured(cells: Sequence[Cell], watts: float | None = WATTS) -> list[Measurement]:
    return [at(RATE, cell, watts=watts) for cell in cells]


def llm_record(results: Path, chip: str = H200, model: Model = MODELS[R1], **header: Any) -> Path:  # noqa: ANN401
    """Write what `run --workload llm` leaves behind on a chip, below a results folder."""
    made = header.pop("made", None) or measured(needed(model))
    device = {"name": f"NVIDIA {chip}", "chip": chip, "folder": chip}
    return saved(results / chip, made, workload="llm", model=model.id, device=device, **header)


def tiny(folder: Path) -> Model:
    path = folder / "models" / "tiny.toml"
    path.parent.mkdir(parents=True)
    path.write_text(TINY, encoding="utf-8")
    return read_models(specs_folders(folder))["tiny"]


def explained(chip: str, *more: str | Path) -> dict[str, dict[str, Any]]:
    """Return the JSON of what each model does on a chip, by the model."""
    answer = chipbench("explain", chip, *more, "--format", "json")
    assert answer.code == 0, answer.err
    return {one["model"]: one for one in json.loads(answer.out)["in_use"]}


def column(chips: Sequence[Mapping[str, Any]], label: str, field: str = "seconds") -> list[Any]:
    """Return a field of all steps on one chip."""
    (chip,) = (one for one in chips if one["label"] == label)
    return [step[field] for step in chip["steps"]]


def section(out: str, title: str) -> str:
    """Return one section of a table, without its title; an empty one if it is not there."""
    found = re.search(rf"\n\d+\. {re.escape(title)}\n-+\n(.*?)(\n\d+\. [^\n]+\n-+\n|\Z)", out, re.DOTALL)
    return found[1] if found else ""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


class TestBySheet:
    @pytest.mark.parametrize("name", [H20, "h20"])
    def test_of_an_h20_decoding_is_faster_than_on_an_h100_and_prefill_takes_four_times_as_long(
        self, name: str
    ) -> None:
        chips = explained(name)[R1]["chips"]
        assert [(one["label"], one["kind"]) for one in chips] == [(one, "projected") for one in (H20, H100, H200)]
        mine, its = column(chips, H20), column(chips, H100)
        ratios = [other / own for own, other in zip(mine, its, strict=True)]
        assert ratios[0] == pytest.approx(1.19, abs=0.005)
        assert ratios[3] == pytest.approx(1.05, abs=0.005)
        assert 0.27 < ratios[4] < 0.285
        assert column(chips, H20, "seconds_lo") == column(chips, H20, "seconds_hi") == mine, "a sheet has no range"
        text = section(chipbench("explain", name).out, f"{TITLE}: DeepSeek-R1 in fp8")
        assert all(
            label in text for label in [*LABELS, "1.19×", "1.05×", "0.281×", "projected by the sheets alone"]
        )

    def test_tokens_and_joules_follow_from_the_seconds(self) -> None:
        chips = explained(H20)[LLAMA]["chips"]
        (mine,) = (one for one in chips if one["label"] == H20)
        for step in mine["steps"]:
            assert step["tokens_per_s"] == pytest.approx(step["tokens"] / step["seconds"])
            assert step["j_per_token"] == pytest.approx(400 * step["seconds"] / step["tokens"]), "at its 400 W"
            assert step["usd_per_million_tokens"] is None
        weights_read = MODELS[LLAMA].weight_bytes / 4e12
        assert column(chips, H20)[0] == pytest.approx(weights_read, rel=0.02)

    def test_a_chip_without_fp8_has_no_r1_and_says_so_in_one_line_and_has_llama(self) -> None:
        found = explained(A100)
        assert column(found[R1]["chips"], A100) == [None] * 5
        assert all(seconds > 0 for seconds in column(found[LLAMA]["chips"], A100))
        assert all(seconds > 0 for seconds in column(found[R1]["chips"], H100)), "the others have it all the same"
        out = chipbench("explain", A100).out
        line = section(out, f"{TITLE}: DeepSeek-R1 in fp8").strip()
        assert line.startswith(A100)
        assert "\n\n" not in line, "no table"
        assert "fp8" in line
        assert "×" not in line, "the format is what is missing, not this shape or that"
        assert "decode 256" in section(out, f"{TITLE}: Llama 3 70B in bf16")

    @pytest.mark.slow
    @pytest.mark.parametrize("chip", Catalogue([shipped_specs()]).ids)
    def test_every_chip_is_told_of_first_and_beside_each_other_once(self, chip: str) -> None:
        for one in explained(chip).values():
            labels = [beside["label"] for beside in one["chips"]]
            assert labels[0] == chip
            assert len({*labels}) == len(labels)
            assert {H100, H200} <= {*labels}

    @pytest.mark.parametrize("format_name", ["md", "latex", "html"])
    def test_it_stands_in_every_format_of_text(self, format_name: str) -> None:
        answer = chipbench("explain", H20, "--format", format_name)
        assert (answer.code, answer.err) == (0, "")
        assert f"{TITLE}: DeepSeek-R1 in fp8" in answer.out

    def test_a_model_of_one_s_own_is_told_of_as_counted_by_hand(self, tmp_path: Path) -> None:
        tiny(tmp_path / "specs")
        found = explained(H20, "--specs-dir", "specs", "--price", "h20=3.60")
        assert {*found} == {R1, LLAMA, "tiny"}
        decode, *_, prefill = column(found["tiny"]["chips"], H20)
        assert decode == pytest.approx(2 * (1024**2 + 2 * 1024) * 2 / 4e12), "two layers of bf16 bytes at 4 TB/s"
        assert prefill == pytest.approx(2 * 2 * 4096 * 1024**2 / 148e12), "and of operations at 148 TFLOPS"
        usd = column(found["tiny"]["chips"], H20, "usd_per_million_tokens")
        assert usd[0] == pytest.approx(0.001 * decode * 1e6)
        assert usd[-1] == pytest.approx(0.001 * prefill / 4096 * 1e6)


class TestPrice:
    def test_a_price_adds_what_a_million_tokens_cost(self) -> None:
        chips = explained(H20, "--price", "h20-96gb=1.08")[R1]["chips"]
        seconds = column(chips, H20)
        for usd, second, step in zip(column(chips, H20, "usd_per_million_tokens"), seconds, STEPS, strict=True):
            assert usd == pytest.approx(1.08 / 3600 * second / step.tokens * 1e6)
        assert column(chips, H100, "usd_per_million_tokens") == [None] * 5
        text = chipbench("explain", H20, "--price", "h20-96gb=1.08", "--format", "md").text
        assert f"USD per million tokens, {H20} (projected by its sheet)" in text
        assert "h20-96gb at 1.08 USD an hour" in text
        assert "USD per million tokens" not in chipbench("explain", H20).text

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["--all"], "--price goes with a CHIP"),
            (["--tops", "8=296"], "--price goes with a CHIP"),
            ([H20, "--price", "h20=2"], "h20-96gb has a price already"),
            ([H20, "--price", "no-such-chip=2"], "unknown chip 'no-such-chip'"),
        ],
    )
    def test_a_price_is_of_a_known_chip_that_is_explained(self, args: Sequence[str], said: str) -> None:
        answer = chipbench("explain", *args, "--price", "h20-96gb=1")
        assert answer.code == 2
        assert said in answer.error

    def test_a_price_of_a_chip_that_is_not_there_is_told_and_harmless(self) -> None:
        answer = chipbench("explain", H20, "--price", "t4=1")
        assert (answer.code, answer.err) == (0, "--price t4=1: t4 is not in this answer\n")
        assert answer.out == chipbench("explain", H20).out

    @pytest.mark.parametrize(
        "price", ["0", "0.00", "-1", "nan", "inf", "1e3", "abc", "", " ", "1,5", "1_0", "=1", "１", "9" * 400]
    )
    @pytest.mark.parametrize("args", [["explain", H20], ["project", "--from", f"published:{H100}", "--to", H20]])
    def test_what_is_no_plain_number_above_0_is_no_price(self, args: Sequence[str], price: str) -> None:
        answer = chipbench(*args, "--price", f"h20-96gb={price}")
        assert answer.code == 2
        assert "--price" in answer.error
        assert "2.99" in answer.error, "an example of one that would do"


class TestFromRecords:
    def test_without_records_there_is_no_such_section(self, tmp_path: Path) -> None:
        (tmp_path / "results").mkdir()
        assert [one["from_records"] for one in explained(H20).values()] == [[], []]
        assert "from records" not in chipbench("explain", H20).text

    def test_a_record_of_another_chip_is_projected_and_stands_as_measured_beside(self, tmp_path: Path) -> None:
        llm_record(tmp_path / "results")
        found = explained(H20)
        assert found[LLAMA]["from_records"] == []
        (pair,) = found[R1]["from_records"]
        assert [(one["label"], one["kind"]) for one in pair] == [(H20, "projected"), (H200, "measured")]
        by_hand = [sum(one.flop for one in products(MODELS[R1], step)) / RATE for step in STEPS]
        assert column(pair, H200) == pytest.approx(by_hand, rel=0.2), "but for whole rows"
        (own,) = (one for one in pair if one["label"] == H20)
        for step in own["steps"]:
            assert step["seconds_lo"] < step["seconds"] < step["seconds_hi"]
        assert column(pair, H200, "w") == pytest.approx([WATTS] * 5), "as drawn"
        assert column(pair, H20, "w") == [400.0] * 5, "at most"
        text = section(chipbench("explain", H20).out, FROM_RECORDS)
        assert all(label in text for label in LABELS)
        assert f"{H20} (projected from" in " ".join(text.split())
        assert f"{H200} (measured" in text

    @pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
    def test_the_committed_record_of_an_h200_tells_of_an_h20(self, path: Path) -> None:
        (pair,) = explained(H20, "--results-dir", path.parent.parent)[R1]["from_records"][-1:]
        projected_s, measured_s = column(pair, H20), column(pair, H200)
        assert measured_s[0] < projected_s[0] < 1.5 * measured_s[0], "decoding waits for memory"
        assert projected_s[-1] > 2.5 * measured_s[-1], "and prefill for arithmetic"

    def test_its_own_record_stands_as_measured(self, tmp_path: Path) -> None:
        llm_record(tmp_path / "results", H20)
        out = chipbench("explain", H20).out
        head = section(out, FROM_RECORDS)
        assert "measured" in head
        assert "(projected)" not in head

    def test_the_newest_record_counts_and_another_folder_can_be_named(self, tmp_path: Path) -> None:
        llm_record(tmp_path / "elsewhere")
        slow = [at(RATE / 2, cell) for cell in needed(MODELS[R1])]
        once = explained(H20, "--results-dir", "elsewhere")[R1]["from_records"][0]
        llm_record(tmp_path / "elsewhere", made=slow)
        twice = explained(H20, "--results-dir", "elsewhere")[R1]["from_records"][0]
        assert column(twice, H200) == pytest.approx([2 * seconds for seconds in column(once, H200)])
        assert explained(H20)[R1]["from_records"] == []

    @pytest.mark.parametrize("origin", ["simulated", "replayed"])
    def test_only_what_was_measured_counts(self, origin: str, tmp_path: Path) -> None:
        llm_record(tmp_path / "results", origin=origin)
        assert explained(H20)[R1]["from_records"] == []

    def test_a_damaged_record_is_told_of_and_breaks_nothing(self, tmp_path: Path) -> None:
        path = llm_record(tmp_path / "results")
        whole = chipbench("explain", H20)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], b"{}\n", *lines[1:]]))
        answer = chipbench("explain", H20)
        assert answer.code == 0
        (line,) = answer.err.splitlines()
        assert path.name in line
        assert line.startswith("not used: ")
        assert "damaged" in line
        assert "from records" in whole.out
        assert "from records" not in answer.out

    @pytest.mark.parametrize(
        ("header", "said"),
        [
            ({"flagged": {"NVIDIA_TF32_OVERRIDE": "0"}}, "NVIDIA_TF32_OVERRIDE"),
            ({"settings": {"mig": "true"}}, "MIG"),
        ],
    )
    def test_a_record_that_tells_nothing_of_another_chip_is_told_of(
        self, header: Mapping[str, Any], said: str, tmp_path: Path
    ) -> None:
        llm_record(tmp_path / "results", **header)
        answer = chipbench("explain", H20)
        assert answer.code == 0
        assert said in answer.err
        assert "from records" not in answer.out


class TestProject:
    def test_the_steps_of_a_model_are_as_counted_by_hand(self, tmp_path: Path) -> None:
        model = tiny(tmp_path / "specs")
        path = llm_record(tmp_path / "results", H100, model)
        args = ["--workload", "llm", "--model", "tiny", "--specs-dir", "specs"]
        args += ["--price", "h100=3.60", "--price", "h20=7.20"]
        document = json.loads(projected(path, H20, *args, "--format", "json").out)
        assert document["in_use"]["model"] == "tiny"
        target, source = document["in_use"]["chips"]
        for step in target["steps"]:
            usd = 0.002 * step["seconds"] / step["tokens"] * 1e6
            assert step["usd_per_million_tokens"] == pytest.approx(usd)
        for step in source["steps"]:
            seconds = 2 * 2 * step["tokens"] * 1024**2 / RATE
            assert step["seconds"] == pytest.approx(seconds)
            assert step["tokens_per_s"] == pytest.approx(step["tokens"] / seconds)
            assert step["j_per_token"] == pytest.approx(WATTS * seconds / step["tokens"])
            assert step["usd_per_million_tokens"] == pytest.approx(0.001 * seconds / step["tokens"] * 1e6)
        text = projected(path, H20, *args).text
        assert all(label in text for label in ["Tiny in bf16", "USD per million tokens", *LABELS])

    def test_the_steps_are_the_sum_of_the_products_that_are_shown(self, tmp_path: Path) -> None:
        model = tiny(tmp_path / "specs")
        path = llm_record(tmp_path / "results", H100, model)
        more = ("--workload", "llm", "--model", "tiny", "--specs-dir", "specs", "--format", "json")
        document = json.loads(projected(path, H20, *more).out)
        rows = {one["m"]: one for one in document["cells"]}
        for step in document["in_use"]["chips"][0]["steps"]:
            rate = rows[step["tokens"]]["projected_flop_per_s"]
            assert step["seconds"] == pytest.approx(2 * 2 * step["tokens"] * 1024**2 / rate)

    @pytest.mark.parametrize("format_name", FORMATS)
    def test_every_format_says_that_it_is_projected(self, format_name: str, tmp_path: Path) -> None:
        path = llm_record(tmp_path / "results")
        answer = projected(path, H20, "--workload", "llm", "--model", "deepseek-v3", "--format", format_name)
        assert (answer.code, answer.err) == (0, "")
        assert "projected" in answer.out

    def test_a_step_of_which_a_product_was_not_measured_has_no_time_and_that_is_told(self, tmp_path: Path) -> None:
        model = tiny(tmp_path / "specs")
        made = measured([cell for cell in needed(model) if cell.shape != Shape(m=64, n=1024, k=1024)])
        path = llm_record(tmp_path / "results", H100, model, made=made)
        more = ("--workload", "llm", "--model", "tiny", "--specs-dir", "specs")
        document = json.loads(projected(path, H20, *more, "--format", "json").out)
        for chip in document["in_use"]["chips"]:
            assert [step["tokens"] for step in chip["steps"] if step["seconds"] is None] == [64]
        text = projected(path, H20, *more).text
        assert "decode 64" not in text
        assert "of bf16 64×1024×1024" in text
        assert "have no time" in text

    def test_another_format_in_place_of_the_model_s_is_told(self, tmp_path: Path) -> None:
        model = tiny(tmp_path / "specs")
        made = measured(
            [product("fp16", *msgspec.structs.astuple(cell.shape)) for cell in needed(model) if cell.shape]
        )
        path = llm_record(tmp_path / "results", H100, model, made=made)
        more = ("--workload", "llm", "--model", "tiny", "--specs-dir", "specs")
        assert "fp16 stands for the model's own format" in projected(path, H20, *more).text


class TestRun:
    def test_a_replay_shows_the_products_and_the_steps_of_their_model(self, tmp_path: Path) -> None:
        path = llm_record(tmp_path / "results")
        answer = chipbench("run", "--backend", "replay", "--from", path)
        assert answer.code == 0, answer.err
        assert "256×7168×16384" in answer.text
        assert "DeepSeek-R1 in fp8: the steps" in answer.text
        steps = answer.out.partition("DeepSeek-R1 in fp8: the steps")[2]
        assert all(label in steps for label in LABELS)
        assert "attention itself" in steps

    def test_the_json_has_the_steps(self, tmp_path: Path) -> None:
        path = llm_record(tmp_path / "results")
        document = json.loads(chipbench("run", "--backend", "replay", "--from", path, "--format", "json").out)
        assert document["in_use"]["model"] == R1
        (chip,) = document["in_use"]["chips"]
        assert (chip["kind"], chip["dtype"]) == ("replayed", "fp8")
        assert [f"{step['step']} {step['tokens']}" for step in chip["steps"]] == LABELS
        by_hand = [sum(one.flop for one in products(MODELS[R1], step)) / RATE for step in STEPS]
        assert [step["seconds"] for step in chip["steps"]] == pytest.approx(by_hand, rel=0.2), "but for whole rows"

    def test_a_run_of_no_model_has_none(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        document = json.loads(chipbench("run", "--backend", "replay", "--from", path, "--format", "json").out)
        assert "in_use" not in document

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["--workload", "llm"], "--model"),
            (["--model", R1], "--model"),
            (["--workload", "llm", "--model", "deepseek-r2"], R1),
        ],
    )
    def test_a_workload_without_its_model_or_with_an_unknown_one_is_refused(
        self, args: Sequence[str], said: str
    ) -> None:
        answer = chipbench("run", "--backend", "cpu", *args)
        assert answer.code == 2
        assert said in answer.error
