"""Chips, rules, models, published rates, the timeline and the aliases with one field changed, or some bytes."""

import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.published.chips import Catalogue, read_chip
from bench.published.measured import read_measurements
from bench.published.models import read_model
from bench.published.rules import read_rule
from bench.published.timeline import read_timeline
from tests.fuzz import oracles
from tests.fuzz.driving import accepted
from tests.fuzz.nasty import IN_TOML, Change, as_toml, changed, changes
from tests.fuzz.tally import SEED, some, tallied, wanted
from tests.fuzz.valid import SPECS

Table = dict[str, Any]
pytestmark = pytest.mark.slow


class Kind(NamedTuple):
    """A kind of spec file: where it lies, how it is read, and what must be true of what was read."""

    pattern: str
    read: Callable[[Path], Any]
    check: Callable[[Any], None]


def _timeline(path: Path) -> Any:  # noqa: ANN401 - events
    return read_timeline([path.parent])


def _aliases(path: Path) -> Catalogue:
    return Catalogue([SPECS, path.parent])


def _sound_catalogue(catalogue: Catalogue) -> None:
    """Names stand for names; which of them is a chip is asked when it is needed."""
    assert all(name == name.lower() for name in catalogue.aliases)
    assert {"h20-96gb", "h100-sxm5-80gb"} <= {*catalogue.ids}


KINDS: Final = {
    "chips": Kind("chips/*.toml", read_chip, oracles.sound_chip),
    "rules": Kind("rules/*.toml", read_rule, oracles.sound_rule),
    "models": Kind("models/*.toml", read_model, oracles.sound_model),
    "published": Kind("published/*.toml", read_measurements, oracles.sound_rates),
    "timeline": Kind("timeline.toml", _timeline, oracles.sound_events),
    "aliases": Kind("aliases.toml", _aliases, _sound_catalogue),
}
_CHIPS_AT_ONCE: Final = 8
_LONGEST: Final = 6  # entries of a list: of more, nothing new is to be learnt


def files(kind: str) -> list[tuple[str, Table]]:
    """Return valid files, by name: shipped ones, cut short. Of the chips there are too many to try all at once."""
    paths = sorted(SPECS.glob(KINDS[kind].pattern))
    if kind == "chips":
        paths = [path for index, path in enumerate(paths) if (index + int(SEED)) % 5 == 0][:_CHIPS_AT_ONCE]
    found = []
    for path in paths:
        tree = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        found += [(path.name, part) for part in (_figures(tree) if kind == "chips" else [_short(tree)])]
    return found


def _figures(chip: Table) -> Iterator[Table]:
    """Yield a chip with each third of its figures, and their sources: a whole file takes long to read."""
    figures = [*chip["figures"].items()]
    for start in range(3):
        some_figures = dict(figures[start::3])
        text = str({**chip, "figures": some_figures, "sources": {}})
        sources = {name: source for name, source in chip["sources"].items() if repr(name) in text}
        yield {**chip, "figures": some_figures, "sources": sources}


def _short(tree: Table) -> Table:
    """Return a file with the first entries of its lists, and the sources that those name."""
    cut = {key: value[:_LONGEST] if isinstance(value, list) else value for key, value in tree.items()}
    if "sources" not in cut:
        return cut
    text = str({**cut, "sources": {}})
    return {**cut, "sources": {name: one for name, one in tree["sources"].items() if repr(name) in text}}


def one_field(kind: str) -> Iterator[tuple[str, Change, str]]:
    """Yield as many files of a kind with one field changed as this suite tries: name, change and text."""
    pool = [(name, tree, change) for name, tree in files(kind) for change in changes(tree, IN_TOML)]
    for name, tree, change in some(kind, pool, lambda one: one[2].kind):
        yield name, change, as_toml(changed(tree, change))


def is_sound(kind: str, path: Path, content: bytes) -> bool:
    """Whether a file is read, and then what it says must be sound."""
    path.write_bytes(content)
    found = accepted(lambda: KINDS[kind].read(path))
    if found is None:
        return False
    KINDS[kind].check(found)
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_ones_are_read(tmp_path: Path, kind: str) -> None:
    for name, tree in files(kind):
        assert is_sound(kind, tmp_path / name, as_toml(tree).encode())


@pytest.mark.parametrize("kind", KINDS)
def test_one_field_changed(tmp_path: Path, kind: str) -> None:
    with tallied(kind) as tally:
        for name, change, text in one_field(kind):
            try:
                tally.count(accepted=is_sound(kind, tmp_path / name, text.encode("utf-8", "surrogatepass")))
            except BaseException as error:
                error.add_note(f"{name}: {str(change)[:300]}")
                raise


def test_bytes_changed(tmp_path: Path) -> None:
    name = "specs, bytes"
    contents = [(kind, *files(kind)[0]) for kind in KINDS if kind != "aliases"]
    texts = [(kind, tmp_path / file, as_toml(tree).encode()) for kind, file, tree in contents]
    spot = st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=4) | st.text(max_size=2))

    @settings(max_examples=wanted(name), suppress_health_check=[*HealthCheck])
    @given(st.sampled_from(texts), st.lists(spot, min_size=1, max_size=3))
    def attempt(file: tuple[str, Path, bytes], spots: list[tuple[int, int, bytes | str]]) -> None:
        kind, path, content = file
        for where, cut, new in spots:
            at, put = where % (len(content) + 1), new.encode() if isinstance(new, str) else new
            content = content[:at] + put + content[at + cut :]
        tally.count(accepted=is_sound(kind, path, content))

    with tallied(name) as tally:
        attempt()
