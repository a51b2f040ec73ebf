"""How each number format lies in memory, and operands filled with data: the same code on NumPy and on CuPy.

FP8 and FP4 have no CuPy type, and BF16 only with ml_dtypes: they are stored as the unsigned integers of their
bits. Everything takes `xp`, the array module (numpy in host memory, cupy in a GPU's).
"""

from collections.abc import Callable, Iterator
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.workloads.base import Data

Array = npt.NDArray[Any]
Xp = Any  # the module numpy or cupy

_CHUNK_ELEMENTS: Final = 1 << 24  # 64 MB in FP32: what filling and describing need beside the operand
_INT8_SCALE: Final = 20.0  # of N(0,1): a plain cast would be 70 % zeros
_FP8_MOST, _FP4_MOST = 448.0, 6.0  # the largest finite e4m3 and e2m1; ml_dtypes does not saturate by itself


class Stored(NamedTuple):
    """How a format is stored: the array type of an item, elements an item, to and from numbers.

    `encode` takes normal numbers [rows, columns] in FP32 (FP64 for fp64), `decode` gives FP64 back.
    """

    item: type[np.generic]
    per_item: int
    encode: Callable[[Xp, Array], Array]
    decode: Callable[[Xp, Array], Array]

    def columns(self, count: int) -> int:
        """Return the items of a row of `count` elements."""
        return count // self.per_item


def _cast(item: type[np.generic]) -> Stored:
    return Stored(item, 1, lambda _xp, x: x.astype(item), lambda _xp, x: x.astype(np.float64))


def _bf16_encode(_xp: Xp, x: Array) -> Array:
    """Round FP32 to the nearest BF16, ties to even: the upper half of the bits, after adding half a unit."""
    bits = x.astype(np.float32).view(np.uint32)
    rounded: Array = ((bits + (np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1)))) >> 16).astype(np.uint16)
    return rounded


def _bf16_decode(_xp: Xp, x: Array) -> Array:
    wide: Array = (x.astype(np.uint32) << 16).view(np.float32)
    return wide.astype(np.float64)


@cache
def _codes(name: str, most: float) -> Array:
    """Return, for every FP16 bit pattern, the bits of the nearest finite number of an ml_dtypes format."""
    import ml_dtypes  # noqa: PLC0415 - comes with the CUDA extras

    with np.errstate(all="ignore"):
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
        finite = np.clip(np.nan_to_num(halves, nan=0.0, posinf=most, neginf=-most), -most, most)
    codes: Array = finite.astype(getattr(ml_dtypes, name)).view(np.uint8)
    return codes


@cache
def _values(name: str, count: int) -> Array:
    """Return the number behind each of the first `count` bit patterns of an ml_dtypes format."""
    import ml_dtypes  # noqa: PLC0415 - comes with the CUDA extras

    values: Array = np.arange(count, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float64)
    return values


def _look_up(xp: Xp, name: str, most: float, x: Array) -> Array:
    # By way of FP16, so the rare value between two codes' midpoints may take the further one.
    codes: Array = xp.asarray(_codes(name, most))[x.astype(np.float16).view(np.uint16)]
    return codes


def _fp8_encode(xp: Xp, x: Array) -> Array:
    return _look_up(xp, "float8_e4m3fn", _FP8_MOST, x)


def _fp8_decode(xp: Xp, x: Array) -> Array:
    numbers: Array = xp.asarray(_values("float8_e4m3fn", 256))[x]
    return numbers


def _fp4_encode(xp: Xp, x: Array) -> Array:
    """Pack two e2m1 numbers a byte, the one with the even column in the low half."""
    codes = _look_up(xp, "float4_e2m1fn", _FP4_MOST, x)
    packed: Array = codes[:, 0::2] | (codes[:, 1::2] << 4)
    return packed


def _fp4_decode(xp: Xp, x: Array) -> Array:
    values = xp.asarray(_values("float4_e2m1fn", 16))
    numbers: Array = xp.stack([values[x & 15], values[x >> 4]], axis=-1).reshape(x.shape[0], -1)
    return numbers


def _int8_encode(xp: Xp, x: Array) -> Array:
    clipped: Array = xp.clip(xp.rint(x), -127, 127).astype(np.int8)
    return clipped


FORMATS: Final = MappingProxyType(
    {
        "fp64": _cast(np.float64),
        "fp32": _cast(np.float32),
        "fp16": _cast(np.float16),
        "int32": _cast(np.int32),
        "bf16": Stored(np.uint16, 1, _bf16_encode, _bf16_decode),
        "fp8_e4m3": Stored(np.uint8, 1, _fp8_encode, _fp8_decode),
        "int8": Stored(np.int8, 1, _int8_encode, lambda _xp, x: x.astype(np.float64)),
        "nvfp4": Stored(np.uint8, 2, _fp4_encode, _fp4_decode),
    }
)
# The factors that scaled formats are multiplied with, first and second operand: powers of two, so that they cost
# no precision, and unequal to one, so that a kernel which ignores them is found out.
SCALES: Final = MappingProxyType({"fp8_e4m3": (0.5, 0.25), "nvfp4": (0.5, 0.25)})
_UE4M3: Final = MappingProxyType({0.5: 0x30, 0.25: 0x28})  # e4m3 without sign: exponent bias 7
_BLOCK: Final = 16  # elements along K that share an NVFP4 scale


def block_scales(xp: Xp, rows: int, k: int, factor: float) -> Array:
    """Return equal NVFP4 block scales for [rows, k], one byte for 16 elements, whole tiles of 128 rows × 4 scales.

    All alike, they read the same through whatever order cublasLt lays them out in.
    """
    tiles = -(-rows // 128) * 128 * (-(-(k // _BLOCK) // 4) * 4)
    scales: Array = xp.full(tiles, _UE4M3[factor], np.uint8)
    return scales


def empty(xp: Xp, name: str, rows: int, columns: int) -> Array:
    """Return an operand of that format without content."""
    stored = FORMATS[name]
    array: Array = xp.empty((rows, stored.columns(columns)), stored.item)
    return array


def fill(xp: Xp, array: Array, name: str, rng: Any, data: Data) -> Iterator[Array]:  # noqa: ANN401
    """Fill a stored operand row by row from `rng`, and give back what each part holds, decoded.

    Normal data are N(0,1) rounded to the format (FP64 is drawn in FP64; INT8 is 20·N(0,1), rounded); the whole
    operand is drawn, nothing repeats.
    """
    stored = FORMATS[name]
    columns = array.shape[1] * stored.per_item
    step = max(1, _CHUNK_ELEMENTS // columns)
    for start in range(0, array.shape[0], step):
        part = array[start : start + step]
        part[...] = stored.encode(xp, _numbers(xp, (part.shape[0], columns), name, rng, data))
        yield stored.decode(xp, part)


def _numbers(xp: Xp, shape: tuple[int, int], name: str, rng: Any, data: Data) -> Array:  # noqa: ANN401
    wide = np.float64 if name == "fp64" else np.float32
    if data == "normal":
        drawn: Array = rng.standard_normal(size=shape, dtype=wide)
        return drawn * wide(_INT8_SCALE) if name == "int8" else drawn
    same: Array = xp.full(shape, 0 if data == "zeros" else 1, wide)
    return same


def poison(array: Array) -> None:
    """Fill an output with what no product is: NaN, or the least integer."""
    if array.dtype.kind == "f":
        array.fill(np.nan)
    else:
        info = np.iinfo(array.dtype)
        # As BF16 bits, all ones are a NaN too.
        array.fill(info.min if info.min < 0 else info.max)
