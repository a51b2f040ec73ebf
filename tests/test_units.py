"""Prefixes are a thousand apart, sheet units are exact, and every number format has one name."""

import doctest
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import units
from bench.published.figures import FIGURES
from bench.units import DTYPES, PREFIXES, STORED_BYTES, UNITS, dtype_of, format_si

# As the BIPM's SI brochure lists them, written out by hand.
FACTORS = {
    "p": Decimal("0.000000000001"),
    "n": Decimal("0.000000001"),
    "µ": Decimal("0.000001"),
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(1000),
    "M": Decimal(1000000),
    "G": Decimal(1000000000),
    "T": Decimal(1000000000000),
    "P": Decimal(1000000000000000),
    "E": Decimal(1000000000000000000),
}

in_range = st.floats(min_value=1e-12, max_value=9.9e20, allow_nan=False, allow_infinity=False)


def _read(text: str, unit: str) -> Decimal:
    """What a person would read in `text`, by a table of prefixes of our own."""
    number, rest = text.split(" ", 1)
    assert rest.endswith(unit)
    return Decimal(number) * FACTORS[rest.removesuffix(unit)]


def _digits(text: str) -> int:
    return len(text.split(" ", maxsplit=1)[0].lstrip("-").replace(".", ""))


@pytest.mark.parametrize(("smaller", "larger"), [*pairwise(FACTORS)])
@given(mantissa=st.integers(min_value=1, max_value=999))
def test_each_prefix_is_a_thousand_times_the_one_before(smaller: str, larger: str, mantissa: int) -> None:
    number, prefix = format_si(float(mantissa * FACTORS[smaller]), "B").split(" ")
    above_number, above_prefix = format_si(float(mantissa * FACTORS[larger]), "B").split(" ")
    assert (prefix, above_prefix) == (f"{smaller}B", f"{larger}B")
    assert number == above_number


def test_the_prefixes_are_those_of_the_si() -> None:
    assert {prefix: Decimal(10) ** exponent for prefix, exponent in PREFIXES} == FACTORS


@given(value=in_range, sign=st.sampled_from((1, -1)), digits=st.integers(min_value=3, max_value=9))
def test_a_reader_gets_the_value_back_within_the_digits(value: float, sign: int, digits: int) -> None:
    text = format_si(sign * value, "FLOP/s", digits=digits)
    read = _read(text, "FLOP/s")
    half_a_step = Decimal("0.5000001") * Decimal(10) ** (1 - digits)
    assert abs(read / Decimal(sign * value) - 1) <= half_a_step
    assert _digits(text) == digits


@given(value=in_range)
def test_the_number_before_the_prefix_is_from_1_to_below_1000(value: float) -> None:
    assert 1 <= Decimal(format_si(value, "B").split(" ")[0]) < 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999.96e9, "1.000 TFLOP/s"),  # rounds up into the next prefix
        (999.94e9, "999.9 GFLOP/s"),
        (-999.96e9, "-1.000 TFLOP/s"),
        (0.99996, "1.000 FLOP/s"),
        (148e12, "148.0 TFLOP/s"),
        (1.2e-6, "1.200 µFLOP/s"),
        (0, "0 FLOP/s"),
        (-0.0, "0 FLOP/s"),
        (999.94e18, "999.9 EFLOP/s"),
        (1e21, "1.000e+21 FLOP/s"),  # beyond the prefixes
        (999.96e18, "1.000e+21 FLOP/s"),
        (1e-12, "1.000 pFLOP/s"),
        (4.2e-13, "4.200e-13 FLOP/s"),
        (5e-324, "4.941e-324 FLOP/s"),  # never the "0.000" of something that is not nothing
    ],
)
def test_examples_of_four_digits(value: float, text: str) -> None:
    assert format_si(value, "FLOP/s") == text


def test_the_example_in_the_help_of_format_si_is_true() -> None:
    assert doctest.testmod(units) == (0, 1)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("TFLOPS", 10**12),
        ("PFLOPS", 10**15),
        ("GFLOPS", 10**9),
        ("TOPS", 10**12),
        ("MB", 10**6),
        ("GB", 10**9),
        ("TB/s", 10**12),
        ("GB/s", 10**9),
        ("MHz", 10**6),
        ("GHz", 10**9),
        ("W", 1),
    ],
)
def test_a_sheet_unit_is_exactly_so_many_base_units(unit: str, factor: int) -> None:
    assert UNITS[unit].factor == factor
    assert isinstance(UNITS[unit].factor, Decimal)


def test_units_of_one_prefix_agree_and_binary_units_are_unknown() -> None:
    assert UNITS["TFLOPS"].factor == UNITS["TOPS"].factor == UNITS["TB"].factor == UNITS["TB/s"].factor
    assert not [unit for unit in UNITS if "i" in unit.removesuffix("generation").removesuffix("transistors")]


def test_flop_and_op_never_share_a_base_unit() -> None:
    assert UNITS["TFLOPS"].base == "flop_per_s"
    assert UNITS["TOPS"].base == "op_per_s"


def test_no_two_number_formats_have_the_same_three_types() -> None:
    triples = [(dtype.input, dtype.compute, dtype.output) for dtype in DTYPES.values()]
    assert len(set(triples)) == len(triples)


def test_dtype_of_finds_every_format_by_its_types_and_nothing_else() -> None:
    for name, dtype in DTYPES.items():
        found = dtype_of(input_type=dtype.input, compute=dtype.compute, output=dtype.output)
        assert found is not None
        assert found.name == name
    assert dtype_of(input_type="fp16", compute="fp32", output="fp32") is None
    assert dtype_of(input_type="int8", compute="int8", output="int8") is None


def test_every_format_is_held_against_figures_in_its_own_unit() -> None:
    for dtype in DTYPES.values():
        assert dtype.figures, dtype.name
        for figure in dtype.figures:
            assert FIGURES[figure].rate
            assert FIGURES[figure].base == dtype.rate_unit, f"{dtype.name} against {figure}"
    assert {name for name, dtype in DTYPES.items() if dtype.rate_label == "OP/s"} == {"int8"}


def test_a_stored_element_takes_as_many_bytes_as_its_bits_say() -> None:
    for dtype in DTYPES.values():
        assert STORED_BYTES[dtype.input] * 8 == dtype.bits, dtype.name
        assert dtype.output in STORED_BYTES
