"""Copy and triad: what their cells say of themselves, whether a wrong array is noticed, what a CPU moves."""

import threading
import tracemalloc
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices import check, cpu, cpu_stream, environment
from bench.devices.base import Check
from bench.devices.check import check_stream
from bench.devices.cpu_stream import CACHES, CpuStreamTask, Slice, default_elements
from bench.measure.loop import measure
from bench.run.planning import ALL_DATA
from bench.workloads import stream
from bench.workloads.base import Cell, Data
from tests.support import TINY, cell

Numbers = npt.NDArray[np.float32]
COPY, TRIAD = stream.OPERATIONS
BOTH = pytest.mark.parametrize("operation", stream.OPERATIONS)
EVERY_DATA = pytest.mark.parametrize("data", ALL_DATA)
MIB = 1 << 20
PART = 700  # numbers that the check looks at together here


def one(operation: str, elements: int = 1000, *, data: Data = "normal", library: str = "numpy") -> Cell:
    (made,) = stream.cells([operation], elements, library=library, data=data)
    return made


class TestCells:
    def test_each_operation_size_library_data_and_regime_has_a_key_of_its_own(self) -> None:
        made = [
            of
            for elements, library, regime in product((1000, 1001), ("kernel", "memcpy"), ("steady", "burst"))
            for data in ALL_DATA
            for of in stream.cells(stream.OPERATIONS, elements, library=library, data=data, regime=regime)
        ]
        assert len({of.key for of in made}) == len(made) == 48

    def test_an_operation_asked_for_twice_is_one_cell(self) -> None:
        made = stream.cells([TRIAD, COPY, TRIAD], 9, library="numpy")
        assert [of.operation for of in made] == [TRIAD, COPY]

    def test_the_key_says_elements_and_names_no_shape(self) -> None:
        key = one(TRIAD).key
        assert '"elements":1000' in key
        assert "shape" not in key
        assert "elements" not in cell().key

    @given(st.integers(1, 1 << 40))
    def test_a_number_moves_8_bytes_in_a_copy_and_12_in_a_triad(self, elements: int) -> None:
        assert one(COPY, elements).bytes_moved == 8 * elements
        assert one(TRIAD, elements).bytes_moved == 12 * elements

    @BOTH
    def test_its_work_is_bytes_held_against_the_memory_bandwidth(self, operation: str) -> None:
        made = one(operation)
        assert (made.work, made.flop) == (made.bytes_moved, 0)
        assert (made.rate_unit, made.rate_label) == ("byte_per_s", "B/s")
        assert made.figures == ("memory_bandwidth",)

    def test_the_work_of_a_product_stays_its_operations(self) -> None:
        made = cell(64)
        assert made.work == made.flop == 2 * 64**3
        assert (made.rate_unit, made.rate_label, made.figures) == ("flop_per_s", "FLOP/s", ("fp32",))
        assert made.bytes_moved == 3 * 4 * 64**2

    @pytest.mark.parametrize(
        ("operation", "elements", "data", "label"),
        [
            (COPY, 1 << 28, "normal", "copy 1.07 GB"),
            (TRIAD, 1 << 28, "normal", "triad 1.07 GB"),
            (COPY, 1, "normal", "copy 4.00 B"),
            (TRIAD, 250_000, "zeros", "triad 1.00 MB (zeros)"),
        ],
    )
    def test_its_label_is_the_operation_and_the_bytes_of_one_array(
        self, operation: str, elements: int, data: Data, label: str
    ) -> None:
        assert one(operation, elements, data=data).label == label


def arrays(count: int, data: str = "normal") -> tuple[Numbers, Numbers]:
    """Return what a call reads: a and b."""
    if data != "normal":
        value = 0.0 if data == "zeros" else 1.0
        return np.full(count, value, np.float32), np.full(count, value, np.float32)
    rng = np.random.default_rng(5)
    return rng.standard_normal(count, np.float32), rng.standard_normal(count, np.float32)


def written(operation: str, a: Numbers, b: Numbers) -> Numbers:
    """Return what a right call writes, rounded once."""
    wide = a.astype(np.float64) + (0.0 if operation == COPY else 3.0) * b.astype(np.float64)
    return wide.astype(np.float32)


def checked(operation: str, a: Numbers, b: Numbers, c: Numbers) -> Check:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "_PART", PART)
        return check_stream(operation, a, b if operation == TRIAD else None, c)


# What is wrong with an array: where, and what stands there instead (of the right array c).
SPOILT: dict[str, tuple[slice | list[int], Callable[[Numbers], Numbers | float]]] = {
    "one_nan": ([500], lambda c: np.nan),
    "one_infinite": ([0], lambda c: np.inf),
    "last_part_unwritten": (slice(-100, None), lambda c: np.nan),
    "last_part_left_at_zero": (slice(-100, None), lambda c: 0),
    "two_swapped": ([10, 900], lambda c: c[[900, 10]]),
    "all_zero": (slice(None), lambda c: 0),
    "shifted_by_one": (slice(None), lambda c: np.roll(c, 1)),
}


@BOTH
class TestCheck:
    @pytest.mark.parametrize("count", [1, 2, 3, PART, PART + 1, 2 * PART + 3])
    def test_right_arrays_of_any_length_pass(self, operation: str, count: int) -> None:
        a, b = arrays(count)
        found = checked(operation, a, b, written(operation, a, b))
        assert found.passed, found
        assert found.rows == -(-count // PART)
        assert found.tolerance == (0.0 if operation == COPY else 5e-7)

    @pytest.mark.parametrize("data", ["zeros", "constant"])
    def test_predictable_data_pass(self, operation: str, data: str) -> None:
        a, b = arrays(1000, data)
        found = checked(operation, a, b, written(operation, a, b))
        assert (found.passed, found.rows_error, found.product_error) == (True, 0.0, 0.0)

    @given(position=st.integers(0, PART + 99), error=st.floats(1e-4, 1e30))
    def test_one_wrong_number_anywhere_is_caught(self, operation: str, position: int, error: float) -> None:
        a, b = arrays(PART + 100)
        c = written(operation, a, b)
        c[position] += np.float32(error)
        assert not checked(operation, a, b, c).passed

    @pytest.mark.parametrize("name", SPOILT)
    def test_what_a_wrong_call_leaves_does_not_pass(self, operation: str, name: str) -> None:
        a, b = arrays(1000)
        c = written(operation, a, b)
        where, instead = SPOILT[name]
        c[where] = instead(c)
        assert not checked(operation, a, b, c).passed

    def test_what_is_not_a_number_is_an_error_of_none(self, operation: str) -> None:
        a, b = arrays(1000)
        c = written(operation, a, b)
        c[7] = np.nan
        found = checked(operation, a, b, c)
        assert (found.passed, found.rows_error, found.product_error) == (False, None, None)

    def test_anything_but_zero_made_of_zeros_is_caught(self, operation: str) -> None:
        a, b = arrays(1000, "zeros")
        c = written(operation, a, b)
        c[3] = 1e-30
        assert not checked(operation, a, b, c).passed


def test_a_copy_is_exact_to_the_last_bit() -> None:
    a, b = arrays(1000)
    c = a.copy()
    c[500] = np.nextafter(c[500], np.float32(9))
    assert not checked(COPY, a, b, c).passed


@pytest.mark.parametrize(
    "wrong",
    [lambda a, b: a, lambda a, b: a + 2 * b, lambda a, b: 3 * b, lambda a, b: 3 * a + b, lambda a, b: a - 3 * b],
    ids=["b_ignored", "scalar_2", "a_ignored", "arrays_swapped", "sign"],
)
def test_another_sum_than_a_plus_3_b_is_no_triad(wrong: Callable[[Numbers, Numbers], Numbers]) -> None:
    a, b = arrays(1000)
    assert not checked(TRIAD, a, b, wrong(a, b)).passed


Prepare = Callable[..., CpuStreamTask]


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Prepare:
    """Return what prepares a task on a machine of so many cores, and closes it in the end."""

    def make(of: Cell, *, cores: int = 3, seed: int = 7) -> CpuStreamTask:
        monkeypatch.setattr(environment, "usable_cores", lambda: cores)
        task = cpu.open_backend().prepare(of, seed)
        assert isinstance(task, CpuStreamTask)
        request.addfinalizer(task._pool.shutdown)
        return task

    return make


@BOTH
class TestTask:
    @pytest.mark.parametrize(("count", "cores"), [(1, 8), (3, 8), (7, 7), (1001, 3), (100_003, 2), (70_001, 1)])
    def test_a_timed_call_writes_every_number_right(
        self, operation: str, count: int, cores: int, prepare: Prepare
    ) -> None:
        task = prepare(one(operation, count), cores=cores)
        assert np.isnan(task._c).all()
        task.block(1)
        a, b = task._a, task._b if task._b is not None else np.zeros(count, np.float32)
        exact = a.astype(np.float64) + 3.0 * b.astype(np.float64)
        assert np.allclose(task._c, exact, rtol=0, atol=0 if operation == COPY else 2e-6)
        assert task.algorithm == {"threads": min(count, cores)}
        assert task.verify().passed

    def test_as_many_calls_are_made_as_asked(
        self, operation: str, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task, shares, clock = prepare(one(operation, 10), cores=2), list[Slice](), iter([100.0, 100.75])
        monkeypatch.setattr(task, f"_{operation}", shares.append)
        monkeypatch.setattr(cpu_stream, "perf_counter", lambda: next(clock))
        block = task.block(3)
        assert (block.calls, block.seconds_per_call) == (3, 0.25)
        assert sorted(shares) == [(0, 5)] * 3 + [(5, 10)] * 3

    @EVERY_DATA
    def test_a_right_call_passes_and_is_measured(self, operation: str, data: Data, prepare: Prepare) -> None:
        of = one(operation, 501, data=data)
        measured = measure(prepare(of), of, TINY)
        assert measured.passed
        assert measured.samples.seconds_per_call

    @EVERY_DATA
    @pytest.mark.parametrize("done", [0, 999], ids=["nothing", "all_but_the_last_share"])
    def test_a_call_that_leaves_a_share_out_does_not_pass(
        self, operation: str, data: Data, done: int, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = prepare(one(operation, data=data))
        task.block(1)  # a right result to be left over
        work = getattr(task, f"_{operation}")
        monkeypatch.setattr(task, f"_{operation}", lambda share: share[1] <= done and work(share))
        assert not task.verify().passed

    @EVERY_DATA
    def test_a_remembered_first_result_does_not_pass(
        self, operation: str, data: Data, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = prepare(one(operation, data=data))
        task.block(1)
        first = task._c.copy()

        def remembered(share: Slice) -> None:
            task._c[slice(*share)] = first[slice(*share)]

        monkeypatch.setattr(task, f"_{operation}", remembered)
        assert task._verify_once().passed  # of the first arrays it is right
        assert not task.verify().passed

    def test_normal_data_have_mean_0_deviation_1_and_no_zeros(self, operation: str, prepare: Prepare) -> None:
        task = prepare(one(operation, 40_000))
        assert [*task.data] == (["a"] if operation == COPY else ["a", "b"])
        for held in task.data.values():
            assert abs(held.mean) < 4 / 200
            assert abs(held.sd - 1) < 4 / 200
            assert held.zero_share == 0

    @pytest.mark.parametrize(("data", "stored"), [("zeros", (0.0, 0.0, 1.0)), ("constant", (1.0, 0.0, 0.0))])
    def test_other_data_tell_what_they_are(
        self, operation: str, data: Data, stored: tuple[float, float, float], prepare: Prepare
    ) -> None:
        for held in prepare(one(operation, data=data)).data.values():
            assert (held.mean, held.sd, held.zero_share) == stored

    def test_the_same_seed_gives_the_same_numbers_and_none_repeat(self, operation: str, prepare: Prepare) -> None:
        first, same, other = (prepare(one(operation, 3000), seed=seed)._a for seed in (7, 7, 8))
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)
        assert not np.array_equal(first[:1000], first[1000:2000])  # shares of two threads
        assert len(np.unique(first)) > 0.99 * first.size

    def test_close_ends_its_threads_and_lets_the_arrays_go(self, operation: str, prepare: Prepare) -> None:
        before = {*threading.enumerate()}
        task = prepare(one(operation), cores=4)
        task.block(1)
        assert {*threading.enumerate()} - before
        task.close()
        assert not {*threading.enumerate()} - before
        assert not hasattr(task, "_c")

    def test_what_it_says_it_needs_is_what_it_takes_at_most(self, operation: str, prepare: Prepare) -> None:
        of = one(operation, check._PART + 5)
        tracemalloc.start()
        try:
            prepare(of).verify()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert of.bytes_moved < peak <= cpu.open_backend().bytes_needed(of)


def test_a_cell_without_elements_is_no_cell_for_it() -> None:
    with pytest.raises(ValueError, match="does not offer"):
        CpuStreamTask(Cell(operation=COPY, version=1), 1, cold=True)


@pytest.mark.parametrize(
    ("cache", "elements"), [(None, 1 << 26), (MIB, 1 << 26), (64 * MIB, 1 << 26), (300 * MIB, 1 << 29)]
)
def test_an_array_is_the_least_power_of_two_that_fills_four_caches(
    cache: int | None, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda: cache)
    assert default_elements() == elements
    assert elements.bit_count() == 1
    assert 4 * elements >= CACHES * (cache or 0)


class TestCache:
    def size(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *texts: str) -> int | None:
        """Return what is found where the system's files of the caches hold these texts."""
        for index, text in enumerate(texts):
            path = folder / f"index{index}" / "size"
            path.parent.mkdir()
            path.write_bytes(text.encode("latin-1"))
        monkeypatch.setattr(environment, "Path", lambda _asked: folder)
        return environment.last_level_cache_bytes()

    @pytest.mark.parametrize(
        ("texts", "found"),
        [
            (["48K\n", "32K\n", "2048K\n", "107520K\n"], 107520 << 10),
            (["32K", "16M\n", "512K\n"], 16 * MIB),  # the largest, wherever it stands
            (["32K\n", "", "huge\n", "12\n", "-1K\n", "8G\n", "\xff\n"], 32 << 10),
            (["\n"], None),
            ([], None),
        ],
    )
    def test_the_largest_that_the_system_tells_counts(
        self, texts: list[str], found: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert self.size(monkeypatch, tmp_path, *texts) == found

    def test_a_folder_that_is_not_there_tells_nothing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert self.size(monkeypatch, tmp_path / "none") is None


@pytest.mark.parametrize(("cache", "codes"), [(None, []), (1 << 10, []), (1 << 30, ["in_cache"])])
def test_arrays_that_the_last_cache_may_hold_are_told(
    cache: int | None, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda: cache)
    (of,) = stream.cells(["copy"], 4096, library="numpy")
    task = CpuStreamTask(of, 7, cold=False)
    try:
        assert [one.code for one in task.caveats()] == codes
    finally:
        task.close()
