"""Records with one field changed, with several, and with bytes changed: read soundly, or refused in one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.records.record import read_lines, record_of
from tests.fuzz import oracles, valid
from tests.fuzz.driving import accepted
from tests.fuzz.nasty import IN_JSON, Change, as_json, changed, changes
from tests.fuzz.tally import PARTS, some, tallied, wanted

RECORDS: Final = valid.records()
_ENCODED: Final = {name: [as_json(line) for line in lines] for name, lines in RECORDS.items()}
ONE_FIELD: Final = [(name, change) for name, lines in RECORDS.items() for change in changes(lines, IN_JSON)]
pytestmark = pytest.mark.slow


class Tried(NamedTuple):
    """One input: the record it was made of, what was changed, and what the file holds."""

    name: str
    change: Change
    content: bytes


def with_change(name: str, change: Change) -> bytes:
    """Return a valid record with one field changed; the lines without it are as they were."""
    lines, number = RECORDS[name], int(change.path[0])
    encoded = _ENCODED[name]
    if len(change.path) == 1:
        return valid.as_record(changed(lines, change))
    one = as_json(changed(lines[number], change._replace(path=change.path[1:])))
    text = "".join(f"{line}\n" for line in (*encoded[:number], one, *encoded[number + 1 :]))
    return text.encode("utf-8", "surrogatepass")


def tried(name: str) -> Iterator[Tried]:
    """Yield as many records with one field changed as that part of the suite tries."""
    stem, _, part = name.partition(" ")
    pool = ONE_FIELD[int(part) :: PARTS] if stem == "records" else ONE_FIELD  # no part tries what another does
    for record, change in some(name, pool, lambda one: one[1].kind):
        yield Tried(record, change, with_change(record, change))


def is_sound(path: Path, content: bytes) -> bool:
    """Whether a file is read as a record, which then must be a sound one."""
    path.write_bytes(content)
    lines = accepted(lambda: read_lines(path))
    if lines is None:
        return False
    oracles.sound_record(lines, record_of(path, lines))
    return True


def test_the_valid_ones_are_read(tmp_path: Path) -> None:
    for lines in RECORDS.values():
        assert is_sound(tmp_path / "a.jsonl", valid.as_record(lines))


@pytest.mark.parametrize("part", range(PARTS))
def test_one_field_changed(tmp_path: Path, part: int) -> None:
    name = f"records {part}"
    with tallied(name) as tally:
        for one in tried(name):
            try:
                tally.count(accepted=is_sound(tmp_path / "a.jsonl", one.content))
            except BaseException as error:
                error.add_note(f"{one.name}: {str(one.change)[:300]}")
                raise


def test_several_fields_changed(tmp_path: Path) -> None:
    name = "records, several fields"
    pools = {record: [change for own, change in ONE_FIELD if own == record] for record in RECORDS}

    @settings(max_examples=wanted(name), suppress_health_check=[*HealthCheck])
    @given(st.sampled_from([*RECORDS]), st.lists(st.integers(0, 10**9), min_size=2, max_size=4))
    def attempt(record: str, picks: list[int]) -> None:
        lines: Any = RECORDS[record]
        for pick in picks:
            try:
                lines = changed(lines, pools[record][pick % len(pools[record])])
            except (LookupError, TypeError, AttributeError, ValueError):
                continue  # an earlier change took away where this one belongs
        tally.count(accepted=is_sound(tmp_path / "a.jsonl", valid.as_record(lines)))

    with tallied(name) as tally:
        attempt()


def test_bytes_changed(tmp_path: Path) -> None:
    name = "records, bytes"
    contents = [valid.as_record(lines) for lines in RECORDS.values()]
    spot = st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=4))

    @settings(max_examples=wanted(name), suppress_health_check=[*HealthCheck])
    @given(st.sampled_from(contents), st.lists(spot, min_size=1, max_size=3))
    def attempt(content: bytes, spots: list[tuple[int, int, bytes]]) -> None:
        for where, cut, new in spots:
            at = where % (len(content) + 1)
            content = content[:at] + new + content[at + cut :]
        tally.count(accepted=is_sound(tmp_path / "a.jsonl", content))

    with tallied(name) as tally:
        attempt()
