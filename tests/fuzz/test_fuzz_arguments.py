"""Every command and option with values that are valid, nearly valid and not: an answer, or one line."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import several
from bench.cli.main import LazyGroup, main
from bench.errors import BackendUnavailable
from bench.run import request
from tests.fuzz import oracles, valid
from tests.fuzz.driving import answered
from tests.fuzz.tally import tallied, wanted

_RECORD, _OTHER = "results/a/a.jsonl", "b.jsonl"
# All of it stays in a folder of its own, as some of these commands write, with --force over what is there.
# No NUL, as no process can be given one; but a name that is no UTF-8 comes as half of a surrogate pair.
NUMBERS: Final = (
    "0", "1", "-1", "3", "8", "1e3", "1.5", "-0.0", "nan", "inf", "-inf", "1e400", "9" * 400, "٣", " 2 ", "0x10",
    "", "1_000", "1,5", "2147483648", "1e-9", "604801",
)  # fmt: skip
TEXTS: Final = (
    "", " ", "-", "--", "x" * 300, "ä", "\udcff", "a\nb", "\x1b[31m", "h20", "H20", "h200 ", "published:",
    "latest", "published:h20", "published:nobody", "deepseek-r1", "slower:5", "slower:-1", "slower:nan", "unsane",
    "outlier", "power_limit_w", "2025-04-09", "2025-02-30", "9999-12-31", "0001-01-01", "٢٠٢٥-04-09", "h20=1.10",
    "h20=nan",
    "h20=-1", "nobody=1", "=", "8=296", "16=1e400", "8=-1", "1x8192x8192", "fp32", "tcp://localhost:1", "all", "0",
    "*", "{}", "%s", "1e999",
)  # fmt: skip
PATHS: Final = (
    _RECORD, _OTHER, "results", "results/a", ".", "empty", "nothing", "no.jsonl", "torn.jsonl", "-", "x" * 300,
    "\udcff", "a\nb", "results/a/a.jsonl/b", "specs", "out.svg", "out.png", "out.md", "out.html", "out.json",
    "out.pdf", "~", "",
)  # fmt: skip
NAMES: Final = ("h20", "h100", "a100", _RECORD, _OTHER, "results", "latest", "published:h20", "nothing")
# What is right for an option, whatever the command.
GOOD: Final = {
    "results_dir": ("results",), "on": ("2025-04-09",), "source": (_RECORD,), "sources": (_RECORD, "results"),
    "measured": (_RECORD, "published:h100"), "target": ("csv", "json", "pytest-benchmark", "h20"), "to": ("h20",),
    "output": ("out.svg", "out.md"), "price": ("h20=1.10",), "chip": ("h20",), "chips": ("h20",),
    "tops": ("8=296",),
    "backend": ("replay",), "specs_dir": ("own",), "fail_on": ("slower:5",), "gpu": ("0",),
}  # fmt: skip
_SLOW: Final = {"report", "plot"}  # half a second and more where all is valid
_NEVER: Final = {"plots", "verbose"}  # many pictures, each twice; tracebacks, which are what it is for
pytestmark = pytest.mark.slow


def _commands(group: LazyGroup | click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*before, name))
        else:
            yield (*before, name)


def _command(names: Sequence[str]) -> click.Command:
    command: click.Command = main
    for name in names:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


COMMANDS: Final = [*_commands(main)]


def values(param: click.Parameter) -> tuple[str, ...]:
    """Return what an option or argument is given, half of the time what is right."""
    found = wrong_or_right(param)
    good = GOOD.get(param.name or "", ())
    return (*found, *(good * (len(found) // len(good)) if good else ()))


def wrong_or_right(param: click.Parameter) -> tuple[str, ...]:
    """Return what an option of its type is given."""
    if isinstance(param.type, click.Choice):
        return (*map(str, param.type.choices), "", "TABLE", "tabel", "x" * 300, "\udcff")
    if isinstance(param.type, click.Path):
        return PATHS
    if param.type.name in {"text", "gpu", "MxNxK"}:
        return (*TEXTS, *NAMES)
    return (*NUMBERS, *NUMBERS, *TEXTS)


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, ...]:
    """Draw a command line: a command, some of its options, and names."""
    names = draw(st.sampled_from([one for one in COMMANDS if one[0] not in _SLOW] * 9 + COMMANDS))
    command = _command(names)
    options = [one for one in command.params if isinstance(one, click.Option) and one.name not in _NEVER]
    words = [*names]
    needed = [one for one in options if one.required and draw(st.integers(0, 9))]
    for option in (*needed, *draw(st.lists(st.sampled_from(options), max_size=3))):
        words.append(draw(st.sampled_from([*option.opts * 9, option.opts[-1][:-1]])))
        if not option.is_flag:
            words.append(draw(st.sampled_from(values(option))))
    if any(isinstance(one, click.Argument) for one in command.params):
        words += draw(st.lists(st.sampled_from((*NAMES * 9, *PATHS, *TEXTS)), max_size=3))
    return tuple(words)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with records, good and bad; nothing is measured but what is replayed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHIPBENCH_RESULTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare = request.prepare

    def only_replays(asked: request.Request) -> request.Prepared:
        if asked.backend != "replay":
            message = "there is no device in this test; replay a record"
            raise BackendUnavailable(message)
        return prepare(asked)

    def no_others(*_args: Any) -> None:  # noqa: ANN401 - whatever it is given
        message = "there are no other devices in this test"
        raise BackendUnavailable(message)

    monkeypatch.setattr(request, "prepare", only_replays)
    monkeypatch.setattr(several, "run_several", no_others)
    monkeypatch.setattr(several, "resume_several", no_others)
    return tmp_path


def fill(folder: Path) -> None:
    """Make the records anew: a command may have been told to write where they lie."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = valid.records()
    for name, which in ((_RECORD, "simulated-h100"), (_OTHER, "schema-4"), ("results/b/c.jsonl", "schema-1")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(valid.as_record(found[which]))
    (folder / "torn.jsonl").write_bytes((folder / _OTHER).read_bytes()[:-40])
    (folder / "empty").mkdir()
    (folder / "own" / "chips").mkdir(parents=True)
    shutil.copy(valid.SPECS / "chips" / "h20-96gb.toml", folder / "own" / "chips")
    (folder / "specs" / "models").mkdir(parents=True)
    (folder / "specs" / "models" / "a.toml").write_text("id = 1\n", encoding="utf-8")


def test_any_command_line(there: Path) -> None:
    name = "arguments"

    @settings(max_examples=wanted(name), suppress_health_check=[*HealthCheck])
    @given(lines())
    def attempt(words: tuple[str, ...]) -> None:
        if tally.inputs % 50 == 0:
            fill(there)
        answer = answered(*words)
        tally.count(accepted=answer.code == 0)
        if answer.code in {2, 3, 4, 7} and "check" not in words and "list" not in words:
            assert answer.out == ""
        if answer.code == 0 and words[-2:] == ("--format", "json"):
            oracles.strict(answer.out)

    with tallied(name) as tally:
        attempt()


def test_every_command_is_tried() -> None:
    assert {one[0] for one in COMMANDS} == {*main.list_commands(click.Context(main))}
    assert len(COMMANDS) > 15
