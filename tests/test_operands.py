"""Number formats in memory against ml_dtypes and NumPy: what is stored is what the format says, and all of it."""

from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.base import Moments
from bench.devices.check import Held, check_product, tolerance_of
from bench.devices.nvidia import operands
from bench.devices.nvidia.operands import FORMATS, SCALES, block_scales, empty, fill, poison
from bench.units import DTYPES, STORED_BYTES
from bench.workloads import gemm
from bench.workloads.base import Data, Shape
from tests.simulated_gpu import encoded

Array = npt.NDArray[Any]
INPUTS = sorted({dtype.input for dtype in DTYPES.values()})
OUTPUTS = sorted({dtype.output for dtype in DTYPES.values()})
DATA: tuple[Data, ...] = ("normal", "zeros", "constant")
# What the formats that NumPy lacks are in the library that has them.
ORACLES: dict[str, Any] = {
    "fp64": np.float64,
    "fp32": np.float32,
    "fp16": np.float16,
    "int32": np.int32,
    "int8": np.int8,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
}
FP4 = ml_dtypes.float4_e2m1fn
# Half of the distance between neighbouring numbers of a format: relative to them, and at the least.
HALF_STEPS = {
    "fp64": (0.0, 0.0), "fp32": (0.0, 0.0), "fp16": (2**-11, 2**-25), "bf16": (2**-8, 0.0),
    "fp8_e4m3": (2**-4, 2**-10), "int8": (0.0, 0.5), "nvfp4": (0.25, 0.25),
}  # fmt: skip
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
BITS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64)
MODERATE = st.lists(st.floats(-500, 500, width=32), min_size=2, max_size=64).filter(lambda x: len(x) % 2 == 0)
ROWS, COLUMNS = st.integers(1, 9), st.sampled_from([2, 6, 32, 50])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Numbers far beyond a format are cast on purpose here."""
    with np.errstate(all="ignore"):
        yield


def row(numbers: Sequence[float], wide: type[np.floating[Any]] = np.float32) -> Array:
    return np.array([numbers], wide)


def encode(name: str, numbers: Array) -> Array:
    return FORMATS[name].encode(np, numbers)


def decode(name: str, stored: Array) -> Array:
    return FORMATS[name].decode(np, stored)


def filled(
    name: str, rows: int, columns: int, *, seed: int = 1, data: Data = "normal"
) -> tuple[Array, list[Array]]:
    array = empty(np, name, rows, columns)
    return array, list(fill(np, array, name, np.random.default_rng(seed), data))


def order(codes: Array) -> Array:
    """Number the codes of e4m3 in the order of what they mean, both zeros alike."""
    sizes = (codes & 0x7F).astype(np.int64)
    return np.where(codes & 0x80, -sizes, sizes)


class TestBf16:
    @pytest.mark.parametrize("low", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    def test_every_upper_half_is_rounded_as_ml_dtypes_does(self, low: int) -> None:
        """Subnormal, normal and overflowing numbers; at 0x8000 every one of them is a tie."""
        every = ((np.arange(1 << 16, dtype=np.uint32) << 16) | np.uint32(low)).view(np.float32)
        numbers = every[np.isfinite(every)]
        assert numbers.size == (1 << 16) - 256
        np.testing.assert_array_equal(encode("bf16", numbers), numbers.astype(ml_dtypes.bfloat16).view(np.uint16))

    @given(BITS)
    def test_so_is_any_other_number(self, bits: list[int]) -> None:
        numbers = np.array(bits, np.uint32).view(np.float32)
        numbers = numbers[np.isfinite(numbers)]
        np.testing.assert_array_equal(encode("bf16", numbers), numbers.astype(ml_dtypes.bfloat16).view(np.uint16))


class TestFp8:
    @given(st.lists(FINITE, min_size=1, max_size=64))
    def test_no_finite_number_becomes_nan(self, numbers: list[float]) -> None:
        assert np.isfinite(decode("fp8_e4m3", encode("fp8_e4m3", row(numbers)))).all()

    @given(st.lists(st.floats(448, 2.0**127, width=32), min_size=1, max_size=64))
    def test_what_is_too_large_becomes_the_largest(self, numbers: list[float]) -> None:
        assert (decode("fp8_e4m3", encode("fp8_e4m3", row(numbers))) == 448).all()
        assert (decode("fp8_e4m3", encode("fp8_e4m3", -row(numbers))) == -448).all()

    @given(MODERATE)
    def test_the_nearest_code_is_taken_or_one_that_is_hardly_further(self, numbers: list[float]) -> None:
        """On the way through FP16 a number within 1/128 of the middle between two codes may lose its side."""
        given_ = np.clip(row(numbers), -448, 448)
        taken = encode("fp8_e4m3", given_)
        direct = given_.astype(ml_dtypes.float8_e4m3fn)
        assert (np.abs(order(taken) - order(direct.view(np.uint8))) <= 1).all()
        wide = given_.astype(np.float64)
        least = np.abs(direct.astype(np.float64) - wide)
        assert (np.abs(decode("fp8_e4m3", taken) - wide) <= 1.02 * least).all()

    def test_rounding_twice_changes_less_than_one_normal_number_in_two_hundred(self) -> None:
        numbers = np.random.default_rng(5).standard_normal((500, 400), np.float32)
        differ = encode("fp8_e4m3", numbers) != numbers.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        assert 0 < differ.mean() < 0.005


class TestNvfp4:
    def test_the_even_column_is_in_the_low_half_for_every_pair(self) -> None:
        """The byte that each two of the sixteen numbers make."""
        codes = np.arange(16, dtype=np.uint8)
        numbers = codes.view(FP4).astype(np.float32)
        for code, number in zip(codes, numbers, strict=True):
            pairs = np.stack([np.full(16, number), numbers], axis=1).astype(np.float32)
            np.testing.assert_array_equal(encode("nvfp4", pairs)[:, 0], code | codes << 4)
            np.testing.assert_array_equal(decode("nvfp4", encode("nvfp4", pairs)), pairs)

    @given(st.lists(FINITE, min_size=2, max_size=64).filter(lambda x: len(x) % 2 == 0))
    def test_only_its_sixteen_numbers_are_stored(self, numbers: list[float]) -> None:
        found = decode("nvfp4", encode("nvfp4", row(numbers)))
        assert found.shape == (1, len(numbers))
        assert {abs(value) for value in found[0]} <= {0, 0.5, 1, 1.5, 2, 3, 4, 6}

    @given(MODERATE)
    def test_each_is_the_nearest_or_hardly_further(self, numbers: list[float]) -> None:
        given_ = np.clip(row(numbers), -6, 6)
        wide = given_.astype(np.float64)
        least = np.abs(given_.astype(FP4).astype(np.float64) - wide)
        assert (np.abs(decode("nvfp4", encode("nvfp4", given_)) - wide) <= 1.005 * least).all()

    def test_rounding_twice_changes_less_than_one_normal_number_in_five_hundred(self) -> None:
        numbers = np.random.default_rng(5).standard_normal((500, 400), np.float32)
        direct = numbers.astype(FP4).astype(np.float64)
        assert (decode("nvfp4", encode("nvfp4", numbers)) != direct).mean() < 0.002


class TestInt8:
    @given(st.lists(FINITE, min_size=1, max_size=64))
    def test_numbers_are_rounded_to_even_and_clipped_symmetrically(self, numbers: list[float]) -> None:
        expected = [max(-127, min(127, round(float(np.float32(value))))) for value in numbers]
        assert encode("int8", row(numbers)).tolist() == [expected]

    def test_normal_data_are_twenty_times_the_normal_numbers(self) -> None:
        array, _ = filled("int8", 64, 64, seed=3)
        drawn = np.random.default_rng(3).standard_normal((64, 64), np.float32).astype(np.float64)
        assert np.abs(array - 20 * drawn).max() <= 0.5 + 1e-5
        assert array.std() == pytest.approx(20, rel=0.05)


def every_code(name: str) -> Array:
    """Return every stored item that stands for a number which the format also takes."""
    item = np.dtype(FORMATS[name].item)
    codes = np.arange(1 << (8 * item.itemsize), dtype=f"u{item.itemsize}").view(item)[np.newaxis]
    taken = np.isfinite(decode(name, codes).reshape(codes.shape[1], -1)).all(axis=1)
    return codes[:, taken] if name != "int8" else codes[codes != -128][np.newaxis]


class TestCodes:
    @pytest.mark.parametrize(
        ("name", "count"), [("fp16", 63488), ("bf16", 65280), ("fp8_e4m3", 254), ("int8", 255), ("nvfp4", 256)]
    )
    def test_each_comes_back_from_its_number(self, name: str, count: int) -> None:
        codes = every_code(name)
        assert codes.size == count
        again = encode(name, decode(name, codes).astype(np.float32))
        np.testing.assert_array_equal(again.view(np.uint8), codes.view(np.uint8))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", FORMATS)
    @given(numbers=MODERATE)
    def test_storing_what_was_stored_changes_nothing(self, name: str, numbers: list[float]) -> None:
        wide = np.float64 if name == "fp64" else np.float32
        first = encode(name, row(numbers, wide))
        assert encode(name, decode(name, first).astype(wide)).tobytes() == first.tobytes()

    @pytest.mark.parametrize("name", ORACLES)
    @given(content=st.binary(min_size=8, max_size=64))
    def test_any_bytes_mean_what_they_mean_to_the_oracle(self, name: str, content: bytes) -> None:
        items = np.frombuffer(content[: len(content) // 8 * 8], FORMATS[name].item)[np.newaxis]
        found = decode(name, items)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, items.view(ORACLES[name]).astype(np.float64))

    @given(st.binary(min_size=1, max_size=64))
    def test_any_bytes_are_two_fp4_numbers_each(self, content: bytes) -> None:
        halves = np.array([half for byte in content for half in (byte & 15, byte >> 4)], np.uint8)
        found = decode("nvfp4", np.frombuffer(content, np.uint8)[np.newaxis])
        np.testing.assert_array_equal(found, halves.view(FP4).astype(np.float64)[np.newaxis])

    @pytest.mark.parametrize("name", FORMATS)
    def test_an_operand_takes_the_bytes_that_the_plan_counts(self, name: str) -> None:
        assert empty(np, name, 6, 32).nbytes == 6 * 32 * STORED_BYTES[name]


class TestFill:
    @pytest.mark.parametrize("name", INPUTS)
    @given(rows=ROWS, columns=COLUMNS, chunk=st.integers(1, 600), seed=st.integers(0, 5))
    def test_in_whatever_parts_it_is_filled_it_holds_the_same(
        self, name: str, rows: int, columns: int, chunk: int, seed: int
    ) -> None:
        whole, (described,) = filled(name, rows, columns, seed=seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(operands, "_CHUNK_ELEMENTS", chunk)
            array, parts = filled(name, rows, columns, seed=seed)
        assert len(parts) >= rows * columns / max(chunk, columns)
        assert array.tobytes() == whole.tobytes()
        np.testing.assert_array_equal(np.concatenate(parts), described)
        np.testing.assert_array_equal(described, decode(name, array))

    @pytest.mark.parametrize("name", INPUTS)
    def test_the_whole_operand_is_the_seeds_normal_numbers_rounded(self, name: str) -> None:
        array, _ = filled(name, 64, 96, seed=7)
        wide = np.float64 if name == "fp64" else np.float32
        drawn = np.random.default_rng(7).standard_normal((64, 96), wide)
        scaled = drawn.astype(np.float64) * (20 if name == "int8" else 1)
        relative, absolute = HALF_STEPS[name]
        allowed = 1.01 * np.maximum(relative * np.abs(scaled), absolute)
        assert (np.abs(decode(name, array) - scaled) <= allowed).all()

    def test_fp64_is_drawn_in_fp64(self) -> None:
        array, _ = filled("fp64", 32, 32)
        assert (array != array.astype(np.float32)).mean() > 0.99
        assert len(np.unique(array)) == array.size

    @pytest.mark.parametrize("data", DATA)
    @pytest.mark.parametrize("name", INPUTS)
    def test_the_seed_decides_every_byte(self, name: str, data: Data) -> None:
        first, second, other = (filled(name, 16, 32, seed=seed, data=data)[0].tobytes() for seed in (4, 4, 5))
        assert first == second
        assert (first == other) == (data != "normal")

    @pytest.mark.parametrize(("data", "value"), [("zeros", 0.0), ("constant", 1.0)])
    @pytest.mark.parametrize("name", INPUTS)
    def test_predictable_data_are_zero_or_one_in_every_format(self, name: str, data: Data, value: float) -> None:
        array, _ = filled(name, 5, 32, data=data)
        assert (decode(name, array) == value).all()


class TestMoments:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", INPUTS)
    @given(shapes=st.lists(st.tuples(ROWS, COLUMNS), min_size=1, max_size=4), chunk=st.integers(1, 200))
    def test_they_are_numpys_over_all_that_was_stored(
        self, name: str, shapes: list[tuple[int, int]], chunk: int
    ) -> None:
        rng, moments, kept = np.random.default_rng(2), Moments(), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(operands, "_CHUNK_ELEMENTS", chunk)
            for rows, columns in shapes:
                array = empty(np, name, rows, columns)
                for part in fill(np, array, name, rng, "normal"):
                    moments.add(np, part)
                kept.append(decode(name, array).ravel())
        numbers = np.concatenate(kept)
        found = moments.described()
        assert found.mean == pytest.approx(numbers.mean(), rel=1e-9, abs=1e-12)
        assert found.sd == pytest.approx(numbers.std(), rel=1e-9, abs=1e-12)
        assert found.zero_share == np.count_nonzero(numbers == 0) / numbers.size

    @pytest.mark.parametrize(("value", "zero_share"), [(0.0, 1.0), (0.3, 0.0), (0.9, 0.0), (-3.7e5, 0.0)])
    def test_of_equal_numbers_the_deviation_is_never_imaginary(self, value: float, zero_share: float) -> None:
        moments = Moments()
        for _ in range(3):
            moments.add(np, np.full((7, 11), value))
        found = moments.described()
        assert found.mean == pytest.approx(value)
        assert found.sd == pytest.approx(0, abs=1e-7 * abs(value))
        assert found.zero_share == zero_share


class TestPoison:
    @pytest.mark.parametrize("name", OUTPUTS)
    def test_it_is_nothing_that_a_product_can_be(self, name: str) -> None:
        array = empty(np, name, 3, 32)
        array.fill(0)
        poison(array)
        numbers = decode(name, array)
        if name == "int32":
            assert (np.abs(numbers) > 127 * 127 * gemm.SWEEP_SIZES[-1]).all()
        else:
            assert np.isnan(numbers).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", DTYPES)
    @given(at=st.integers(0, 80 * 70 - 1))
    def test_one_output_that_is_never_written_fails_the_check(self, dtype: str, at: int) -> None:
        (cell, *_) = gemm.cells([dtype], [Shape(m=80, n=70, k=32)], library="cublaslt", l2="hot")
        name, output = cell.input or "", cell.output or ""
        a, bt = (filled(name, rows, 32, seed=rows)[0] for rows in (80, 70))
        product = encoded(cell, decode(name, a) @ decode(name, bt).T)
        unwritten = empty(np, output, 80, 70)
        poison(unwritten)
        passed = []
        for wrong in (False, True):
            if wrong:
                product.reshape(-1)[at] = unwritten[0, 0]
            held = [
                Held(array, lambda rows, kind=kind: decode(kind, rows))  # type: ignore[misc]
                for kind, array in ((name, a), (name, bt), (output, product))
            ]
            passed.append(check_product(*held, tolerance=tolerance_of(cell), seed=1).passed)
        assert passed == [True, False]


class TestBlockScales:
    @given(rows=st.integers(1, 700), blocks=st.integers(1, 90))
    def test_whole_tiles_of_128_by_4_and_no_tile_too_many(self, rows: int, blocks: int) -> None:
        count = block_scales(np, rows, 16 * blocks, 0.5).size
        assert count % 512 == 0
        assert rows * blocks <= count <= (rows + 127) * (blocks + 3)

    @pytest.mark.parametrize("factor", SCALES["nvfp4"])
    def test_each_byte_is_the_factor_in_e4m3(self, factor: float) -> None:
        scales = block_scales(np, 130, 16 * 5, factor)
        assert set(scales.view(ml_dtypes.float8_e4m3fn).astype(np.float64)) == {factor}

    @pytest.mark.parametrize("name", SCALES)
    def test_the_factors_cost_no_precision_and_none_of_them_can_be_left_out(self, name: str) -> None:
        first, second = SCALES[name]
        assert np.frexp([first, second])[0].tolist() == [0.5, 0.5]
        assert len({1.0, first, second, first * second}) == 4
