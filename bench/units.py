"""SI prefixes, the units that data sheets print, and the number formats that a matrix multiply can use.

Base units everywhere inside: s, byte, FLOP, OP, Hz, W. A prefix appears in text and in TOML only.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

PREFIXES: Final = (
    ("p", -12), ("n", -9), ("µ", -6), ("m", -3), ("", 0),
    ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18),
)  # fmt: skip


def format_si(value: float, unit: str, *, digits: int = 4) -> str:
    """Return `value` (base units) with `digits` significant digits, a decimal SI prefix and `unit`.

    Beyond the prefixes (below 1 p, from 1000 E) it takes a power of ten instead: '1.000e-13 s'.

    >>> format_si(1.421e11, "FLOP/s")
    '142.1 GFLOP/s'
    """
    if value == 0:
        return f"0 {unit}"
    rounded = f"{value:.{digits - 1}e}"
    mantissa, power = rounded.split("e")
    thousands, shift = divmod(int(power), 3)
    prefix = next((prefix for prefix, exponent in PREFIXES if exponent == 3 * thousands), None)
    if prefix is None:
        return f"{rounded} {unit}"
    return f"{float(mantissa) * 10**shift:.{max(0, digits - 1 - shift)}f} {prefix}{unit}"


_ROUNDED: Final = 3  # significant digits of a number that does not end soon
_SHORT: Final = 9  # digits within which a number that ends is told in full
_MOST: Final = 28  # digits to which a Decimal is computed
_IN_FULL: Final = 60  # digits: more than a figure and a bit length can make
_SEPARATED: Final = 100_000  # from here on digits stand in groups


def number(value: Fraction, against: Fraction | None = None) -> str:
    """Return a number as text: whole, or to 3 significant digits after which rounding cannot hide a difference.

    A number that ends within 9 digits, like 15831.2, stands in full, and a long one with separators. `against` is
    what it is compared with: digits are added until both differ in text if they differ at all.
    """
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    whole = decimal.normalize()
    if Fraction(decimal) == value and len(whole.as_tuple().digits) <= _SHORT:
        return grouped(whole)
    for digits in range(max(_ROUNDED, decimal.adjusted() + 1), _MOST):
        shown = Decimal(f"{decimal:.{digits - 1}e}")
        if against is None or value == against or (Fraction(shown) - against) * (value - against) > 0:
            return grouped(shown)
    return grouped(decimal)


def exact(value: Fraction) -> str:
    """Return a number in full where it ends, as those that sheets print do; else as `number` does."""
    with localcontext(prec=_IN_FULL):
        whole = (Decimal(value.numerator) / Decimal(value.denominator)).normalize()
        return grouped(whole) if Fraction(whole) == value else number(value)


def grouped(value: Decimal) -> str:
    """Return a number without exponent, a long one with its digits in groups."""
    return f"{value:,f}" if abs(value) >= _SEPARATED else f"{value:f}"


class Unit(NamedTuple):
    """A unit as a sheet prints it: `factor` of these make one `base` unit's name in JSON."""

    factor: Decimal
    base: str


def _prefixed(letters: str, suffix: str, base: str) -> dict[str, Unit]:
    exponents = {prefix: exponent for prefix, exponent in PREFIXES if prefix}
    return {f"{p}{suffix}": Unit(Decimal(10) ** exponents[p], base) for p in letters}


UNITS: Final = MappingProxyType(
    {
        **_prefixed("GTP", "FLOPS", "flop_per_s"),
        **_prefixed("GTP", "OPS", "op_per_s"),
        **_prefixed("MGT", "B", "byte"),
        **_prefixed("GT", "B/s", "byte_per_s"),
        **_prefixed("MG", "Hz", "hz"),
        "W": Unit(Decimal(1), "w"),
        "mm2": Unit(Decimal(1), "mm2"),
        "SM": Unit(Decimal(1), "sm"),
        "FLOP/clock/SM": Unit(Decimal(1), "flop_per_clock_per_sm"),
        "generation": Unit(Decimal(1), "generation"),
        "transistors": Unit(Decimal(1), "transistors"),
    }
)


# More than any device does or has, by base unit: a slip of the pen, or of a clock. The fastest chip on sale does
# 1.5e16 FLOP/s, and moves 8e12 bytes a second.
MOST: Final = MappingProxyType(
    {
        "flop_per_s": 1e18, "op_per_s": 1e18, "byte_per_s": 1e16, "byte": 1e16, "hz": 1e12, "w": 1e6, "mm2": 1e6,
        "transistors": 1e15, "sm": 1e6, "flop_per_clock_per_sm": 1e9,
    }
)  # fmt: skip


class Dtype(NamedTuple):
    """One way to multiply matrices: what goes in, what it is multiplied and summed in, what comes out.

    `figures` names the published dense peaks that a matrix multiply in this format is held against: the first
    that a chip file gives counts (a chip with FP64 tensor cores multiplies matrices on them).
    """

    name: str
    input: str
    compute: str
    output: str
    bits: int
    figures: tuple[str, ...]
    operations: str = "flop"

    @property
    def rate_unit(self) -> str:
        """`flop_per_s`, or `op_per_s` for integers."""
        return f"{self.operations}_per_s"

    @property
    def rate_label(self) -> str:
        """The unit as tables print it."""
        return f"{self.operations.upper()}/s"


_ALL: Final = (
    Dtype("fp64", "fp64", "fp64", "fp64", 64, ("fp64_tensor", "fp64")),
    Dtype("fp32", "fp32", "fp32", "fp32", 32, ("fp32",)),
    Dtype("tf32", "fp32", "tf32", "fp32", 32, ("tf32",)),
    Dtype("fp16", "fp16", "fp32", "fp16", 16, ("fp16",)),
    Dtype("fp16_acc16", "fp16", "fp16", "fp16", 16, ("fp16_acc16",)),
    Dtype("bf16", "bf16", "fp32", "bf16", 16, ("bf16",)),
    Dtype("fp8", "fp8_e4m3", "fp32", "bf16", 8, ("fp8",)),
    Dtype("int8", "int8", "int32", "int32", 8, ("int8",), "op"),
    Dtype("nvfp4", "nvfp4", "fp32", "bf16", 4, ("fp4",)),
)
DTYPES: Final = MappingProxyType({dtype.name: dtype for dtype in _ALL})
STORED_BYTES: Final = MappingProxyType(
    {"fp64": 8.0, "fp32": 4.0, "int32": 4.0, "fp16": 2.0, "bf16": 2.0}
    | {"fp8_e4m3": 1.0, "int8": 1.0, "nvfp4": 0.5}
)  # bytes an element takes in memory; NVFP4 block scales are not counted

NUMBER_TYPES: Final = frozenset(name for one in _ALL for name in (one.input, one.compute, one.output))


def dtype_of(*, input_type: str, compute: str, output: str) -> Dtype | None:
    """Return the named format with these three types, or None if it has no name here."""
    for dtype in _ALL:
        if (dtype.input, dtype.compute, dtype.output) == (input_type, compute, output):
            return dtype
    return None
