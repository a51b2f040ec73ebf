"""The record file: what is written is read back, and every kind of damage is one line that names file and line."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.base import Caveat, Check, OperandData
from bench.errors import RecordError
from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.measure.policy import Policy
from bench.records.record import (
    SCHEMA,
    Footer,
    Line,
    Lines,
    Process,
    Resumed,
    encode_line,
    read_header,
    read_lines,
    read_record,
    record_of,
)
from bench.workloads.base import Cell, Data, L2Mode, Load, Shape
from tests.support import CELLS, FAILED, cell, header, measurement

Factory = pytest.TempPathFactory
TEXT = st.text(max_size=12)
POSITIVE = st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False)
# What a column of samples may hold.
VALUE = st.floats(1e-18, 1e18, exclude_min=True, exclude_max=True)
SHAPE = st.builds(Shape, m=st.integers(1, 2**40), n=st.integers(1, 9), k=st.integers(1, 9))
CELL = st.builds(
    Cell,
    operation=TEXT,
    version=st.integers(1, 3),
    input=st.none() | TEXT,
    compute=st.none() | TEXT,
    output=st.none() | TEXT,
    shape=st.none() | SHAPE,
    data=st.none() | st.sampled_from(get_args(Data)),
    library=st.none() | TEXT,
    l2=st.none() | st.sampled_from(get_args(L2Mode)),
    regime=st.none() | TEXT,
    fast_accumulate=st.none() | st.booleans(),
    load=st.none() | st.sampled_from(get_args(Load)),
    peer=st.none() | st.integers(0, 9),
)
ERROR = st.none() | st.floats(0, 1e300)
CHECK = st.builds(
    Check,
    passed=st.sampled_from([False]),
    tolerance=POSITIVE,
    rows=st.integers(0, 64),
    rows_error=ERROR,
    product_error=ERROR,
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
OPERAND = st.builds(OperandData, mean=NUMBER, sd=st.floats(0, 1e300), zero_share=st.floats(0, 1))
DATA = st.dictionaries(TEXT, OPERAND, max_size=2)
ALGORITHM = st.dictionaries(TEXT, TEXT | st.integers(-(2**53), 2**53), max_size=2)
CAVEAT = st.builds(Caveat, code=TEXT, values=st.dictionaries(TEXT, TEXT | NUMBER, max_size=2))
SAMPLE = st.tuples(VALUE, VALUE, VALUE)
WARMING = st.tuples(st.integers(1, 10**9), VALUE, st.none() | POSITIVE)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    """Draw a measurement of `CELLS[0]` with any samples that a clock could give."""
    seconds, cycles, clocks = zip(*draw(st.lists(SAMPLE, min_size=1, max_size=9)), strict=True)
    warm_calls, warm_seconds, warm_clocks = zip(*draw(st.lists(WARMING, min_size=1, max_size=9)), strict=True)
    return Measurement(
        cell=CELLS[0],
        stop=draw(st.sampled_from(["precision", "time_cap", "exhausted"])),
        samples=Samples(
            seconds_per_call=seconds, cycles_per_call=draw(st.sampled_from([None, cycles])), sm_clock_hz=clocks
        ),
        calls_per_block=draw(st.integers(1, 10**9)),
        warm_up=WarmUp(
            cold=draw(st.booleans()),
            flat=draw(st.booleans()),
            calls=warm_calls,
            seconds_per_call=warm_seconds,
            sm_clock_hz=draw(st.sampled_from([None, warm_clocks])),
        ),
        check=draw(st.none() | CHECK),
        data=draw(DATA),
        algorithm=draw(ALGORITHM),
        warnings=tuple(draw(st.lists(CAVEAT, max_size=2))),
    )


def write(path: Path, *lines: Line | bytes) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else encode_line(line) for line in lines))
    return path


FOOTER = Footer(ended="2026-01-02T03:05:05Z", measurements=3, seconds=60.0)
LINES: list[Line] = [header(), *map(measurement, CELLS), FOOTER]
VALID = [encode_line(line) for line in LINES]


class TestKey:
    @given(CELL)
    def test_it_is_the_whole_cell(self, one: Cell) -> None:
        assert msgspec.json.decode(one.key, type=Cell) == one

    @given(CELL)
    def test_it_is_canonical(self, one: Cell) -> None:
        """Sorted, nothing absent in it, no white space: as Python's own JSON writer puts it."""
        fields = {name: value for name, value in msgspec.to_builtins(one).items() if value is not None}
        assert one.key == json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @given(CELL, st.randoms())
    def test_the_order_in_which_fields_come_does_not_matter(self, one: Cell, random: Any) -> None:  # noqa: ANN401
        pairs = list(json.loads(one.key).items())
        random.shuffle(pairs)
        assert msgspec.json.decode(json.dumps(dict(pairs)), type=Cell).key == one.key

    @given(CELL, CELL)
    def test_equal_keys_are_equal_cells(self, one: Cell, other: Cell) -> None:
        assert (one.key == other.key) == (one == other)

    def test_each_field_tells_cells_apart(self) -> None:
        changes: dict[str, Any] = {
            "operation": "copy", "version": 2, "input": "fp64", "compute": "tf32", "output": "fp64",
            "shape": Shape(m=64, n=64, k=65), "data": "zeros", "library": "cublaslt", "l2": "rotate",
            "regime": "burst", "fast_accumulate": False, "load": "together", "peer": 1, "elements": 64,
            "ways": 2,
        }  # fmt: skip
        assert set(changes) == set(Cell.__struct_fields__)
        keys = {msgspec.structs.replace(cell(), **{name: value}).key for name, value in changes.items()}
        assert len(keys | {cell().key}) == len(changes) + 1


class TestRoundTrip:
    @given(first=measurements())
    def test_every_float_comes_back_bit_for_bit(
        self, tmp_path_factory: pytest.TempPathFactory, first: Measurement
    ) -> None:
        path = write(tmp_path_factory.getbasetemp() / "one.jsonl", header(CELLS[:1]), first)
        assert read_lines(path) == Lines(header(CELLS[:1]), (first,), 0, None, 0)

    def test_all_kinds_of_lines(self, tmp_path: Path) -> None:
        head = msgspec.structs.replace(
            header(),
            warnings=(Caveat(code="busy", values={"share": 0.5}),),
            process=Process(index=1, of=3, group="ab12cd34"),
        )
        failed = Measurement(cell=CELLS[1], stop="failed", failure="out of memory")
        resumed = Resumed(at="2026-01-02T04:00:00Z", conditions={"load_1m": "0.5"})
        third = measurement(CELLS[2], check=FAILED)
        path = write(tmp_path / "r.jsonl", head, measurement(CELLS[0]), resumed, failed, resumed, third, FOOTER)
        assert read_lines(path) == Lines(head, (measurement(CELLS[0]), failed, third), 2, FOOTER, 0)
        record = read_record(path)
        assert (record.complete, record.resumed, record.torn) == (True, 2, 0)
        assert [reading.passed for reading in record.readings] == [True, False, False]
        assert record.readings[1].summary is None

    def test_a_record_is_lines_of_json_that_others_can_read(self) -> None:
        kinds = [json.loads(line)["kind"] for line in VALID]
        assert kinds == ["header", "measurement", "measurement", "measurement", "footer"]
        assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in VALID)

    def test_no_statistic_is_kept(self) -> None:
        """Whatever a table shows is computed from the samples, by the reader."""
        text = b"".join(VALID).decode()
        assert not [word for word in ("median", "interval", "half_width", "rate", "flop") if f'"{word}' in text]


def changed(line: int, **fields: Any) -> Callable[[list[bytes]], list[bytes]]:  # noqa: ANN401
    """Return a damage: set fields of one line (from 1), `a__b` meaning b inside of a; ... takes one out."""

    def damage(lines: list[bytes]) -> list[bytes]:
        content = json.loads(lines[line - 1])
        for name, value in fields.items():
            *outer, last = name.split("__")
            where = content
            for key in outer:
                where = where[key]
            if value is ...:
                del where[last]
            else:
                where[last] = value
        lines[line - 1] = json.dumps(content).encode() + b"\n"
        return lines

    return damage


def raw(line: int, content: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[: line - 1], content, *lines[line:]]


def instead(line: int, old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[: line - 1], lines[line - 1].replace(old, new, 1), *lines[line:]]


S = "samples__seconds_per_call"
AT = VALID[0].index(b"simulated")
DAMAGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "empty file": (lambda lines: [], "line 1, the header, is missing"),
    "half a header": (lambda lines: [lines[0][:100]], "line 1, the header, is not whole"),
    "no header": (lambda lines: lines[1:], "line 1 is no header"),
    "header not UTF-8": (instead(1, b"simulated", b"simul\xe9"), f"line 1 is not UTF-8 (byte {AT + 5})"),
    "not UTF-8": (instead(3, b"numpy", b"n\xfcmpy"), "line 3 is not UTF-8"),
    "zeros after a power cut": (raw(3, b"\0" * 64 + b"\n"), "line 3: "),
    "a wrong type": (changed(2, cell__version="one"), "line 2: Expected `int`, got `str` - at `$.cell.version`"),
    "a shape of nothing": (changed(2, cell__shape={"m": 0, "n": 1, "k": 1}), "line 2: Expected `int` >= 1"),
    "a sample as text": (changed(4, **{S: ["1"]}), "line 4: Expected `float`"),
    "a list for an object": (raw(2, b"[]\n"), "line 2: Expected `object`"),
    "an unknown field": (changed(3, note="hello"), "line 3: Object contains unknown field `note`"),
    "an unknown inner field": (changed(1, policy__patience=1), "line 1: Object contains unknown field"),
    "an unknown kind": (changed(2, kind="comment"), "line 2: Invalid value 'comment' - at `$.kind`"),
    "no kind": (changed(2, kind=...), "line 2: "),
    "a missing field": (changed(2, stop=...), "line 2: Object missing required field `stop`"),
    "an unknown stop": (changed(2, stop="bored"), "line 2: Invalid enum value 'bored'"),
    "a second header": (lambda lines: [*lines[:2], lines[0], *lines[2:]], "line 3 is a second header"),
    "a line after the footer": (lambda lines: [*lines, lines[1]], "line 6 follows the footer"),
    "a second footer": (lambda lines: [*lines, lines[-1]], "line 6 follows the footer"),
    "an unplanned cell": (changed(3, cell__shape={"m": 1, "n": 1, "k": 1}), "line 3: the cell is not in the plan"),
    "a cell twice": (lambda lines: [*lines[:3], lines[1]], "line 4: the cell was measured before"),
    "a footer too soon": (lambda lines: [*lines[:3], lines[-1]], "line 4: a footer, but of the cells 2 measured"),
    "a footer that counts wrong": (changed(5, measurements=2), "line 5: a footer, but of the cells 3 measured"),
    "no planned cell": (changed(1, plan__cells=[]), "line 1: a plan has at least one cell"),
    "a negative sample": (changed(3, **{S: [1e-3, -1e-3]}), "line 3: a call took -0.001 s"),
    "a sample of zero": (changed(3, **{S: [0.0]}), "line 3: a call took 0.0 s"),
    "a sample of null": (changed(3, **{S: [None]}), "line 3: Expected `float`, got `null`"),
    "a sample of NaN": (changed(3, **{S: [math.nan]}), "line 3: "),
    "an infinite sample": (instead(3, b"[0.001,", b"[1e999,"), "line 3: "),
    "a sample of ages": (changed(3, **{S: [1e-3, 1e300]}), "line 3: a call took 1e+300 s"),
    "a sample of less than light needs": (changed(3, **{S: [1e-3, 1e-320]}), "line 3: a call took 1e-320 s"),
    "the longest sample": (changed(3, **{S: [1e18]}), "line 3: a call took 1e+18 s"),
    "the shortest sample": (changed(3, **{S: [1e-18]}), "line 3: a call took 1e-18 s"),
    "a warm-up of ages": (changed(3, warm_up__seconds_per_call=[1e300, 1.0]), "line 3: a call took 1e+300 s"),
    "a negative warm-up": (changed(3, warm_up__seconds_per_call=[-1.0, 1.0]), "line 3: a call took -1.0 s"),
    "short columns": (changed(2, samples__sm_clock_hz=[1e9]), "line 2: the columns of the samples differ"),
    "a short warm-up": (changed(2, warm_up__calls=[1]), "line 2: the columns of the warm-up differ"),
    "failed with samples": (changed(2, stop="failed"), "line 2: stop is failed, with 6 samples"),
    "a rate without samples": (changed(2, **{S: []}), "line 2: stop is precision, with 0 samples"),
    "half a line within": (lambda lines: [*lines[:2], lines[2][:50] + b"\n", *lines[3:]], "line 3: "),
    "two lines in one": (lambda lines: [*lines[:2], lines[2].strip(), *lines[3:]], "line 3: "),
    "a blank line": (lambda lines: [*lines[:2], b"\n", *lines[2:]], "line 3: "),
    "a line cut at its front": (lambda lines: [*lines[:2], lines[2][50:], *lines[3:]], "line 3: "),
    "a hundred thousand brackets": (raw(4, b'{"kind":"footer","x":' + b"[" * 100_000 + b"\n"), "line 4: "),
    "schema 0": (changed(1, schema=0), "line 1: schema 0 never existed"),
    "a schema as text": (changed(1, schema="1"), "line 1: Expected `int`"),
}  # fmt: skip


class TestDamage:
    @pytest.mark.parametrize("name", DAMAGES)
    def test_it_is_one_line_that_names_file_and_line(self, name: str, tmp_path: Path) -> None:
        damage, expected = DAMAGES[name]
        path = write(tmp_path / "r.jsonl", *damage([*VALID]))
        for read in (read_lines, read_record):
            with pytest.raises(RecordError) as raised:
                read(path)
            text = str(raised.value)
            assert text.startswith(f"{path}: damaged record: {expected}")
            assert text.endswith("restore it from a copy or move it away")
            assert "\n" not in text
            assert len(text) < 600
            assert raised.value.exit_code == 4

    def test_a_newer_schema_says_to_upgrade_whatever_else_is_new(self, tmp_path: Path) -> None:
        lines = changed(1, schema=SCHEMA + 1, colour="blue")([*VALID])
        path = write(tmp_path / "r.jsonl", *lines)
        for read in (read_header, read_lines):
            with pytest.raises(RecordError, match=r"schema 6 is newer .* upgrade chipbench to ") as raised:
                read(path)
            assert "damaged" not in str(raised.value)

    def test_what_cannot_be_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "missing.jsonl"
        for read in (read_header, read_lines):
            with pytest.raises(RecordError, match="cannot be read") as raised:
                read(path)
            assert str(path) in str(raised.value)

    @pytest.mark.parametrize("what", ["folder", "FIFO"])
    def test_what_is_no_ordinary_file_is_not_opened(
        self, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A FIFO that nobody writes to would keep its reader waiting for ever."""
        path = tmp_path / "r.jsonl"
        path.mkdir() if what == "folder" else os.mkfifo(path)
        monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("it was opened"))
        for read in (read_header, read_lines, read_record):
            with pytest.raises(RecordError, match="is no ordinary file, so no record; ") as raised:
                read(path)
            assert str(raised.value).startswith(f"{path}: ")
            assert raised.value.exit_code == 4

    @given(st.integers(0, len(b"".join(VALID)) - 1), st.integers(0, 40), st.binary(max_size=3))
    def test_any_change_is_noticed_or_harmless_but_never_a_crash(
        self, tmp_path_factory: Factory, start: int, cut: int, new: bytes
    ) -> None:
        whole = b"".join(VALID)
        path = tmp_path_factory.getbasetemp() / "changed.jsonl"
        error = refusal(write(path, whole[:start] + new + whole[start + cut :]))
        assert error is None or error.startswith(str(path))


def refusal(path: Path) -> str | None:
    try:
        read_record(path)
    except RecordError as error:
        return str(error)
    return None


def test_cut_off_anywhere_it_is_an_error_or_the_beginning_of_the_truth(tmp_path: Path) -> None:
    whole = b"".join(VALID)
    path = tmp_path / "r.jsonl"
    complete = read_lines(write(path, whole))
    for length in range(len(whole)):
        write(path, whole[:length])
        lines_there = whole[:length].count(b"\n")
        if lines_there == 0:
            with pytest.raises(RecordError, match="line 1, the header"):
                read_lines(path)
            continue
        found = read_lines(path)
        assert found.header == complete.header
        assert found.measurements == complete.measurements[: lines_there - 1]
        assert found.footer is None
        assert found.torn == length - (whole.rfind(b"\n", 0, length) + 1)
        assert not record_of(path, found).complete


DATA_FILES = Path(__file__).parent / "data"


@pytest.mark.parametrize("schema", [1, 2])
def test_a_record_of_before_the_least_sampling_time_had_none(schema: int) -> None:
    path = DATA_FILES / f"schema-{schema}.jsonl"
    assert b'least_s":' not in path.read_bytes().replace(b"warm_up_least_s", b"")
    found = read_record(path)
    assert found.header.schema == schema
    assert found.header.policy.least_s == 0


def test_the_least_sampling_time_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", header(policy=Policy(least_s=2.5)))
    assert read_header(path).policy.least_s == 2.5
