"""The README is true: its commands run, its outputs are what they print, its lists are complete."""

import re
import shlex
import shutil
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import COMMANDS, main
from bench.devices import BACKENDS
from bench.published.chips import Catalogue
from bench.published.measured import read_published_measurements
from bench.published.source import shipped_specs
from bench.report.formats import FORMATS
from bench.run.planning import _PLANS
from bench.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GOLDEN = ROOT / "tests" / "golden"
RECORD = Path(__file__).parent / "data" / "readme.jsonl"
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
DRAWN = re.findall(r"^    chipbench (plot .+ results/plots/.+)$", README, re.MULTILINE)
SHOWN = [block for block in BLOCKS if not block.startswith("$ chipbench run\n")]


def _commands(block: str) -> list[str]:
    return [line.removeprefix("$ chipbench ") for line in block.splitlines() if line.startswith("$ ")]


def _invoke(command: str, results: Path) -> str:
    """Run a command line, and cut its output where it ends in '| head -N'."""
    arguments, _, lines = command.partition(" | head -")
    result = CliRunner(env={"CHIPBENCH_RESULTS": str(results)}).invoke(main, shlex.split(arguments))
    assert result.exit_code == 0, result.stderr
    return "".join(result.stdout.splitlines(keepends=True)[: int(lines) if lines else None])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "cpu-example"
    folder.mkdir(parents=True)
    shutil.copy(RECORD, folder)
    return folder.parent


def test_the_first_two_commands_are_the_agreed_ones() -> None:
    found = re.findall(r"^    (python3 -m venv .*)$", README, re.MULTILINE)
    assert found == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/chipbench run",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest",
    ]


def test_the_extras_it_names_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"'\.\[(\w+)\]'", README)) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("command", [command for block in SHOWN for command in _commands(block)])
def test_the_commands_that_it_shows_run(command: str, results: Path) -> None:
    assert _invoke(command, results)


def test_outputs_are_what_the_commands_print(results: Path) -> None:
    pasted = [block.split("\n", 1) for block in SHOWN if len(_commands(block)) == 1]
    assert pasted
    for command, output in pasted:
        assert output == _invoke(command.removeprefix("$ chipbench "), results)


def test_the_run_that_it_shows_is_the_record_in_the_test_data(tmp_path: Path) -> None:
    """Replayed, the record gives the very rows, intervals and notes that stand in the README, and what follows."""
    (block,) = (block for block in BLOCKS if block.startswith("$ chipbench run\n"))
    runner = CliRunner()
    options = ["--backend", "replay", "--from", str(RECORD), "--results-dir", str(tmp_path)]
    result = runner.invoke(main, ["run", *options])
    assert result.exit_code == 0, result.stderr
    replayed, said = result.stdout.splitlines(), result.stderr.splitlines()
    assert replayed[0].startswith("Replayed from record ")
    _, backend, *shown = block.splitlines()
    assert backend.startswith("Measuring the CPU through NumPy's BLAS: ")
    assert shown[0].startswith("Measured here, ")
    assert shown[0].split(" UTC: ")[1] == replayed[0].split(" UTC: ")[1]
    assert shown[1 : len(replayed)] == replayed[1:]
    assert [line[:7] for line in shown[len(replayed) :]] == [line[:7] for line in said]
    assert [f"{line} --results-dir {tmp_path}" for line in shown if "compare latest" in line] == [said[-2]]


def test_lines_that_it_takes_from_an_answer_stand_there(results: Path) -> None:
    found = re.findall(r"<!-- lines of: (.+?) -->\n```\n(.+?)\n```", README, re.DOTALL)
    assert found
    for command, lines in found:
        assert lines in _invoke(command, results)


def test_lines_that_it_takes_from_the_test_data_stand_there() -> None:
    found = re.findall(r"<!-- lines of the test data: (.+?) -->\n```\n(.+?)\n```", README, re.DOTALL)
    assert found
    for name, lines in found:
        assert lines in (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command",
    re.findall(
        r"^ +(?:srun .*|mpirun -n \d+ )?(?:bash -c ')?chipbench (run|results merge)(.*?)'?(?: +#.*)?$",
        README[README.index("## Many GPUs") : README.index("## Comparing")],
        re.MULTILINE,
    ),
)
def test_the_commands_for_many_gpus_have_these_options(command: tuple[str, str]) -> None:
    name, options = command
    words = [*name.split(), *shlex.split(options.replace("$SLURM_LOCALID", "0"))]
    assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0
    assert CliRunner().invoke(main, [*words, "--no-such", "--help"]).exit_code == 2


def test_its_command_list_is_that_of_the_help() -> None:
    listed = re.findall(r"^- `chipbench (\w+)`: (.*)$", README, re.MULTILINE)
    assert listed == [(name, text) for name, (_, text) in COMMANDS.items()]


def test_every_workload_backend_and_format_file_is_in_its_dict() -> None:
    def rooms(folder: str) -> set[str]:
        return {path.stem for path in (ROOT / "bench" / folder).glob("*.py")} - {"__init__", "base"}

    assert rooms("workloads") == set(WORKLOADS) == set(_PLANS)
    assert rooms("devices") - {"check", "cpu_stream", "environment"} == set(BACKENDS)
    modules = {render.__module__.rsplit(".", 1)[-1] for render in FORMATS.values()}
    assert rooms("report/formats") == modules


def test_its_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "command", re.findall(r"^    chipbench (plot .+ results/plots/.+)$", README, re.MULTILINE)
)
def test_its_pictures_show_what_their_commands_draw_today(command: str, tmp_path: Path) -> None:
    """By their texts, which hold every number that they show; the lines may be drawn a little otherwise."""
    before, _, file = command.partition(" -o ")
    assert f"({file})" in README, "the README shows it"
    result = CliRunner().invoke(main, [*shlex.split(before), "-o", str(tmp_path / "now.svg")])
    assert result.exit_code == 0, result.stderr
    committed, now = (
        ["".join(text.itertext()) for text in ET.parse(path).getroot().findall(".//{*}text")]
        for path in (ROOT / file, tmp_path / "now.svg")
    )
    assert len(now) > 40
    assert committed == now


def test_the_commands_of_its_ci_example_have_these_options() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    found = re.findall(r"\.venv/bin/chipbench (.+?)(?= > |\n      - |$)", block.replace("\n          ", " "))
    assert [command.split()[0] for command in found] == ["run", "compare"]
    for command in found:
        assert CliRunner().invoke(main, [*shlex.split(command), "--help"]).exit_code == 0, command
        assert CliRunner().invoke(main, [*shlex.split(command), "--no-such", "--help"]).exit_code == 2


def test_it_counts_what_is_in_specs() -> None:
    folders = [shipped_specs()]
    others = read_published_measurements(folders)
    rates = sum(len(others[chip]) for chip in others)
    assert f"{rates} rates of {len(others)} chips" in README
    assert f"({len(Catalogue(folders).ids)} chips, with a source for every figure)" in README
