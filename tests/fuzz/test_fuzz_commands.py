"""Every command that reads records or specs, over files with one field changed: an answer, or one line."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_benchmark.storage.file import FileStorage

from bench.records.record import read_lines
from tests.command import Answer
from tests.fuzz import oracles, valid
from tests.fuzz.driving import accepted, answered
from tests.fuzz.nasty import Change
from tests.fuzz.tally import PARTS, SEED, tallied, wanted
from tests.fuzz.test_fuzz_records import RECORDS, tried
from tests.fuzz.test_fuzz_specs import KINDS, one_field

_FORMATS: Final = ("table", "md", "csv", "json", "latex", "html")
_NO_NUMBER: Final = re.compile(r"(?<![\w'\"-])[-+]?(nan|inf|infinity)\b", re.IGNORECASE)
_OTHER: Final = b"0000aaaa"
pytestmark = pytest.mark.slow


def commands(record: Path, other: Path, chance: Random) -> Iterator[tuple[str, ...]]:
    """Yield what can be asked of a record, without what is drawn."""
    results, shown = str(record.parent), ("--format", chance.choice(_FORMATS))
    of = str(record)
    yield ("results", "list", "--results-dir", results, *shown)
    yield ("results", "check", of, *shown)
    yield from (("results", "export", "--to", target, "--from", of) for target in ("csv", "json"))
    yield ("results", "merge", of, "--results-dir", "merged", *shown)
    yield ("compare", str(other), of, *shown)
    yield ("compare", of, str(other), "--fail-on", "slower:5", "--format", "junit")
    yield ("compare", of, "h20", "published:h100", *shown)
    yield ("compare", "latest", "h100", "--results-dir", results, *shown)
    yield ("compare", of, "--sane", *shown)
    yield ("compare", of, str(other), "--fleet", *shown)
    yield ("roofline", of, *shown)
    yield ("project", "--from", of, "--to", "h20", *shown)
    yield ("run", "--backend", "replay", "--from", of, *shown)


def drawn(record: Path, chance: Random) -> Iterator[tuple[str, ...]]:
    """Yield what takes half a second and more."""
    for kind in ("sweep", "trace", "links", "roofline"):
        yield ("plot", kind, str(record), "-o", f"x.{chance.choice(['svg', 'png'])}", "--force")
    yield ("report", str(record), "--format", chance.choice(["md", "json", "html"]), "-o", "-")
    yield ("explain", "h20", "--results-dir", str(record.parent))


def hold(answer: Answer, asked: tuple[str, ...], *, text_changed: bool) -> None:
    """What was printed shows no number that is none, steers no terminal, and is what its format says."""
    if "json" in asked and answer.out:
        oracles.strict(answer.out)
    if not text_changed:
        assert not _NO_NUMBER.search(answer.out), (asked, _NO_NUMBER.findall(answer.out))
    if "table" in asked:
        assert all(mark.isprintable() or mark == "\n" for mark in answer.out), asked


def _is_text(change: Change) -> bool:
    return change.how != "set" or not isinstance(change.value, bool | int | float | type(None))


@pytest.mark.parametrize("part", range(PARTS))
def test_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.chdir(tmp_path)
    name, chance = f"commands {part}", Random(f"{SEED} {part}")
    record, other = tmp_path / "results" / "a" / "a.jsonl", tmp_path / "other.jsonl"
    record.parent.mkdir(parents=True)
    with tallied(name) as tally:
        for number, one in enumerate(tried(name)):
            record.write_bytes(one.content)
            lines = valid.as_record(RECORDS[one.name])
            other.write_bytes(lines.replace(RECORDS[one.name][0]["id"].encode(), _OTHER))
            shutil.rmtree("merged", ignore_errors=True)
            is_read = accepted(lambda: read_lines(record)) is not None
            tally.count(accepted=is_read)
            asked = [*commands(record, other, chance)]
            # What is refused as it is read is refused by all alike; of the rest every command has its say.
            picked = asked if is_read else chance.sample(asked, 2)
            if number % 75 == 0:
                picked.append(chance.choice([*drawn(record, chance)]))
            for command in picked:
                hold(answered(*command), command, text_changed=_is_text(one.change))


def test_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that override shipped ones, of each kind in turn."""
    monkeypatch.chdir(tmp_path)
    kinds = ("chips", "rules", "published", "models")
    sources = {kind: one_field(kind) for kind in kinds}
    chance = Random(SEED)
    with tallied("specs in commands") as tally:
        for number in range(wanted("specs in commands")):
            kind = kinds[number % len(kinds)]
            name, _, text = next(sources[kind])
            shutil.rmtree("specs", ignore_errors=True)
            path = tmp_path / "specs" / kind / name
            path.parent.mkdir(parents=True)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            is_read = accepted(partial(KINDS[kind].read, path)) is not None
            tally.count(accepted=is_read)
            for asked in about(kind, path.stem):
                command = (*asked, "--specs-dir", "specs", "--format", chance.choice(_FORMATS))
                hold(answered(*command), command, text_changed=True)


def about(kind: str, name: str) -> Iterator[tuple[str, ...]]:
    """Yield what can be asked of a chip, a rule, what others measured or a model."""
    match kind:
        case "chips":
            yield ("chips", name, "h100", "--sources")
            yield ("explain", name)
        case "rules":
            yield ("explain", "h20", "--on", "2025-04-09")
        case "published":
            yield ("compare", f"published:{name}", "h100")
            yield ("project", "--from", f"published:{name}", "--to", "h20")
        case _:
            yield ("project", "--from", "published:h100", "--to", "h20", "--workload", "llm", "--model", name)


def test_rates_above_the_published_peak_are_never_plain(tmp_path: Path) -> None:
    """Whatever the clock says: above its chip's peak a rate is explained, beyond every device it is none."""
    header, *_ = lines = RECORDS["simulated-h100"]
    chip = tomllib.loads((valid.SPECS / "chips" / f"{header['device']['chip']}.toml").read_text(encoding="utf-8"))
    peak = chip["figures"]["fp64_tensor"]["value"] * 1e12
    first = lines[1]
    flop = 2 * first["cell"]["shape"]["m"] ** 3
    path = tmp_path / "a.jsonl"
    assert (first["cell"]["input"], chip["figures"]["fp64_tensor"]["unit"]) == ("fp64", "TFLOPS")

    @settings(max_examples=wanted("rates"), suppress_health_check=[*HealthCheck])
    @given(st.floats(-13, 3))
    def attempt(exponent: float) -> None:
        seconds = flop / peak * 10**exponent
        samples = {"seconds_per_call": [seconds * (1 + 1e-4 * number) for number in range(6)]}
        path.write_bytes(valid.as_record([header, {**first, "samples": samples}]))
        rate = flop / samples["seconds_per_call"][2]
        answer = answered("compare", str(path), header["device"]["chip"])
        tally.count(accepted=answer.code == 0)
        if rate > 1.001 * oracles.FASTEST["flop_per_s"]:
            assert answer.code == 4
            assert "beyond any device" in answered("results", "check", str(path), "--format", "json").out
        elif rate > 1.001 * peak:
            assert "above its" in answer.text
        elif rate < 0.99 * peak:
            assert "above its" not in answer.text

    with tallied("rates") as tally:
        attempt()


class _Heard:
    """A logger that lets nothing pass."""

    def warning(self, text: str) -> None:
        raise AssertionError(text)


def test_what_pytest_benchmark_is_given_it_reads(tmp_path: Path) -> None:
    """The written document is strict JSON, and pytest-benchmark's own loader takes it."""
    name = "pytest-benchmark"
    record, document = tmp_path / "a.jsonl", tmp_path / "0001_a.json"
    storage: Any = FileStorage
    with tallied(name) as tally:
        for one in tried(name):
            record.write_bytes(one.content)
            answer = answered("results", "export", "--to", "pytest-benchmark", "--from", record)
            tally.count(accepted=answer.code == 0)
            if answer.code:
                assert answer.out == ""
                continue
            found = oracles.strict(answer.out)
            assert found["benchmarks"]
            for benchmark in found["benchmarks"]:
                stats = benchmark["stats"]
                assert 0 < stats["min"] <= stats["median"] <= stats["max"]
            document.write_text(answer.out, encoding="utf-8")
            ((_, read),) = storage(str(tmp_path), _Heard(), None).load(str(document))
            assert len(read["benchmarks"]) == len(found["benchmarks"])
