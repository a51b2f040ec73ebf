"""Published measurements: the data of specs/published against what was printed, and that it is read strictly."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.published.chips import Catalogue
from bench.published.measured import PublishedMeasurement, read_measurements, read_published_measurements
from bench.published.source import shipped_specs, specs_folders
from bench.units import DTYPES
from tests.spec_files import Case, Write, refusal, writer

SPECS = Path(__file__).resolve().parent.parent / "specs"
FILES = sorted((SPECS / "published").iterdir())
CATALOGUE = Catalogue([SPECS])
MEASURED = read_published_measurements([SPECS])
ALL = [measured for chip in MEASURED for measured in MEASURED[chip]]
TERA = 10**12

# Collected from the same publications by another hand, some rounded: chip, format, shape, TFLOPS. One number is
# the side of a square; None is the best of the squares that one source tried.
H20, H100, H100_PCIE, H800_PCIE = "h20-96gb", "h100-sxm5-80gb", "h100-pcie-80gb", "h800-pcie-80gb"
A100, A100_PCIE, A800, B200 = "a100-sxm4-80gb", "a100-pcie-80gb", "a800-sxm4-80gb", "b200-sxm-180gb"
Printed = tuple[str, str, int | tuple[int, int, int] | None, str]
COLLECTED: list[Printed] = [
    (H20, "bf16", 1024, "95.1"),
    (H20, "bf16", 2048, "120.3"),
    (H20, "bf16", 4096, "133.4"),
    (H20, "bf16", 8192, "138.6"),
    (H20, "bf16", 10240, "142.3"),
    (H20, "fp16", 8192, "138.5"),
    (H20, "tf32", 8192, "71.8"),
    (H20, "fp32", 8192, "32.0"),
    (H100, "fp32", 4096, "51.88"),
    (H100, "tf32", 4096, "402.2"),
    (H100, "tf32", 8192, "372.1"),
    (H100, "fp16", 8192, "736.2"),
    (H100, "bf16", 4096, "788.7"),
    (H100, "bf16", 8192, "797.5"),
    (H100, "bf16", (2048, 2048, 13312), "794.5"),
    (H100, "fp8", (1024, 9216, 14336), "1402.6"),
    (H100_PCIE, "bf16", None, "495.93"),
    (H100_PCIE, "fp16", None, "458.03"),
    (H100_PCIE, "tf32", None, "240.43"),
    (H100_PCIE, "fp32", None, "36.95"),
    (H800_PCIE, "bf16", 8192, "499.5"),
    (H800_PCIE, "fp16", 4096, "478.2"),
    (H800_PCIE, "tf32", None, "242.83"),
    (H800_PCIE, "fp32", None, "37.77"),
    (A100, "bf16", (1024, 10240, 5120), "271.2"),
    (A100, "bf16", None, "264.53"),
    (A100, "fp16", None, "258.74"),
    (A100, "fp32", None, "19.18"),
    (A100_PCIE, "bf16", (2048, 5120, 6144), "252.9"),
    (A800, "bf16", None, "266.48"),
    (A800, "fp16", None, "266.04"),
    (B200, "bf16", (1792, 16128, 3072), "1745.0"),
    (B200, "fp8", (15360, 4096, 3072), "3432.5"),
    ("l20", "bf16", None, "114.14"),
    ("rtx4090", "fp16", None, "168"),
    ("rtx4090", "bf16", None, "165"),
]
# The posts print, besides every square, the best of each format: FP32, TF32, FP16, BF16.
BEST_OF_THE_POSTS = {
    (H20, 77): "31.99 71.80 142.09 142.25",
    (H100, 79): "51.88 402.15 760.04 797.51",
    (H100_PCIE, 95): "36.95 240.43 458.03 495.93",
    (H800_PCIE, 112): "37.77 242.83 478.23 503.83",
    ("a100-pcie-40gb", 108): "17.56 108.32 241.49 234.14",
    ("l20", 107): "37.27 58.16 113.26 114.14",
    ("rtx4090", 78): "53.84 85.65 168.38 164.81",
}


def _exactly(measured: PublishedMeasurement) -> Decimal:
    """The rate in TFLOP/s, as many digits as were printed."""
    return Decimal(repr(measured.rate)) / TERA


def _best_squares(chip: str, dtype: str) -> set[Decimal]:
    """The best of the square shapes, one for each source that tried some."""
    by_source: dict[str, Decimal] = {}
    for measured in MEASURED[chip]:
        square = measured.best_of == "squares" or (measured.shape is not None and len(set(measured.shape)) == 1)
        if measured.dtype == dtype and square and measured.best_of != "shapes":
            title = measured.source.title
            by_source[title] = max(_exactly(measured), by_source.get(title, Decimal(0)))
    return {*by_source.values()}


@pytest.mark.parametrize("printed", COLLECTED, ids=str)
def test_a_rate_is_the_one_that_was_published(printed: Printed) -> None:
    chip, dtype, shape, tflops = printed
    sides = (shape,) * 3 if isinstance(shape, int) else shape
    candidates = {_exactly(m) for m in MEASURED[chip] if m.dtype == dtype and m.shape == sides}
    if shape is None:
        candidates = _best_squares(chip, dtype)
    expected = Decimal(tflops)
    assert expected in {rate.quantize(expected, ROUND_HALF_UP) for rate in candidates}


@pytest.mark.parametrize("post", BEST_OF_THE_POSTS, ids=str)
def test_the_best_of_a_post_is_the_best_of_its_squares(post: tuple[str, int]) -> None:
    chip, number = post
    rows = [m for m in MEASURED[chip] if m.source.title.split(":")[0].split(",")[1] == f" issue #{number}"]
    assert len(rows) == 20
    for dtype, best in zip(("fp32", "tf32", "fp16", "bf16"), BEST_OF_THE_POSTS[post].split(), strict=True):
        rates = {measured.shape: measured.rate for measured in rows if measured.dtype == dtype}
        assert {*rates} == {(side,) * 3 for side in (1024, 2048, 4096, 8192, 10240)}
        assert max(rates.values()) == float(Fraction(best) * TERA)


def test_the_folder_holds_one_file_for_each_chip_and_nothing_else() -> None:
    assert [path.name for path in FILES] == [f"{chip}.toml" for chip in MEASURED]
    assert len(MEASURED) == len(FILES) >= 11
    assert MEASURED.overridden == ()
    for path in FILES:
        assert {m.chip for m in MEASURED[path.stem]} == {path.stem}
        assert {m.path for m in MEASURED[path.stem]} == {path}


def test_every_chip_exists() -> None:
    MEASURED.check_chips(CATALOGUE.ids)
    assert {*MEASURED} <= {*CATALOGUE.ids}


@pytest.mark.parametrize("chip", MEASURED)
def test_every_value_has_a_source_that_can_be_looked_up(chip: str) -> None:
    for measured in MEASURED[chip]:
        assert len(measured.source.title) > 20
        assert str(measured.source.url).startswith("https://")
        assert measured.source.seen is not None
        number = measured.source.title.partition("issue #")[2].split(",")[0]
        assert not number or str(measured.source.url).endswith(f"/issues/{number}")
        assert (measured.source.grade == "device") is bool(number)  # posts of printed results; tables of many


def _share_of_peak(measured: PublishedMeasurement) -> float:
    figure = CATALOGUE.chip(measured.chip).first_known(DTYPES[measured.dtype].figures)
    assert figure is not None, f"{measured.chip} has no peak of {measured.dtype}"
    peak = figure.in_base_units(figure.value)
    assert isinstance(peak, int | float)
    return measured.rate / peak


def test_a_rate_above_the_published_peak_says_why() -> None:
    above = [measured for measured in ALL if _share_of_peak(measured) > 1]
    assert {measured.chip for measured in above} == {"rtx4090"}
    for measured in above:
        assert "clock" in str(measured.note)
        assert _share_of_peak(measured) < 1.05


def test_no_rate_is_a_slip_of_a_digit() -> None:
    """The best square of each source and format reaches 40 % of the dense peak; a slip would be off by ten."""
    shares: dict[tuple[str, str, str], float] = {}
    for measured in ALL:
        key = (measured.chip, measured.source.title, measured.dtype)
        shares[key] = max(_share_of_peak(measured), shares.get(key, 0.0))
    assert not {key: share for key, share in shares.items() if share < 0.4}


VALID = """\
chip = "test-chip"

[sources.post]
title = "A post"
url = "https://example.org/post"
grade = "device"
seen = "original"

[sources.table]
title = "A table"
grade = "analyst"

[[measurements]]
dtype = "bf16"
shape = [8192, 8192, 8192]
data = "normal"
value = 138.60
unit = "TFLOPS"
method = "torch.mm, mean of 30 calls"
software = "PyTorch 2.7.0, CUDA 12.8"
source = "post"
note = "A note."

[[measurements]]
dtype = "int8"
best_of = "shapes"
value = 1
unit = "POPS"
method = "a search"
source = "table"
"""
FIRST, SECOND = "[[measurements]] 1", "[[measurements]] 2"
AGAIN = VALID[VALID.index("[[measurements]]") : VALID.index('[[measurements]]\ndtype = "int8"')]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file, by default the valid one with one text replaced."""
    return writer(tmp_path, VALID, "published", 'chip = "test-chip"')


def test_a_file_is_read_as_it_was_written(write: Write) -> None:
    path = write()
    first, second = read_measurements(path)
    assert first[:5] == ("test-chip", "bf16", (8192, 8192, 8192), None, "normal")
    assert (first.rate, str(first.value), first.unit) == (138.6e12, "138.60", "TFLOPS")
    assert first[8:10] == ("torch.mm, mean of 30 calls", "PyTorch 2.7.0, CUDA 12.8")
    assert (first.source.title, first.source.url) == ("A post", "https://example.org/post")
    assert (first.note, first.path) == ("A note.", path)
    assert second[:9] == ("test-chip", "int8", None, "shapes", None, 1e15, 1, "POPS", "a search")
    assert second[9:] == (None, second.source, None, path)
    assert second.source.title == "A table"


def test_one_row_is_a_shape(write: Write) -> None:
    path = write("[8192, 8192, 8192]", "[1, 7168, 4096]")
    assert read_measurements(path)[0].shape == (1, 7168, 4096)


BAD = {
    "another chip": Case('chip = "test-chip"', 'chip = "other"', ("chip 'other'", "named after its chip")),
    "an unknown key of the file": Case("chip =", "author = 1\nchip =", ("unknown key 'author'", "chip")),
    "an unknown key of a source": Case("seen =", "sean =", ("[sources.post]", "'sean'", "did you mean seen")),
    "an unknown grade": Case('"device"', '"devise"', ("[sources.post]", "grade 'devise'", "vendor, device")),
    "an unknown key": Case("software =", "softwear =", (FIRST, "'softwear'", "did you mean software")),
    "no value": Case("value = 138.60\n", "", (FIRST, "missing", "value")),
    "no method": Case('method = "a search"\n', "", (SECOND, "missing", "method")),
    "an unknown format": Case('"bf16"', '"bf61"', (FIRST, "dtype 'bf61'", "did you mean bf16")),
    "a unit of integers": Case('"TFLOPS"', '"TOPS"', (FIRST, "unit 'TOPS'", "bf16", "TFLOPS")),
    "a unit of floats": Case('"POPS"', '"PFLOPS"', (SECOND, "unit 'PFLOPS'", "int8", "use GOPS, TOPS, POPS")),
    "a unit of something else": Case('"TFLOPS"', '"GB/s"', (FIRST, "unit 'GB/s'", "use GFLOPS")),
    "a rate of nothing": Case("138.60", "0", (FIRST, "value 0 ", "above 0")),
    "a rate below nothing": Case("138.60", "-138.6", (FIRST, "value -138.6 ", "above 0")),
    "a rate without end": Case("138.60", "inf", (FIRST, "value Infinity ", "finite")),
    "no number": Case("138.60", "nan", (FIRST, "value NaN ", "finite")),
    "a number in quotes": Case("138.60", '"138.6"', (FIRST, "value '138.6' ", "without quotes")),
    "a truth as a rate": Case("value = 1\n", "value = true\n", (SECOND, "value True ", "number")),
    "a slip of the pen": Case("138.60", "1e20", (FIRST, "value 1E+20 ", "1e+18")),
    "two sides": Case("[8192, 8192, 8192]", "[64, 32]", (FIRST, "shape [64, 32] ", "three whole numbers")),
    "four sides": Case("[8192, 8192, 8192]", "[1, 2, 3, 4]", (FIRST, "shape [1, 2, 3, 4] ", "three")),
    "a side of nothing": Case("[8192, 8192, 8192]", "[64, 0, 64]", (FIRST, "shape [64, 0, 64] ", "above 0")),
    "half a side": Case("[8192, 8192, 8192]", "[64, 64, 0.5]", (FIRST, "shape [64, 64, ", "whole numbers")),
    "a true side": Case("[8192, 8192, 8192]", "[true, 1, 1]", (FIRST, "shape [True, 1, 1] ", "whole numbers")),
    "a side only": Case("[8192, 8192, 8192]", "8192", (FIRST, "shape 8192 ", "like [4096, 4096, 4096]")),
    "no square": Case(
        "8192]\n", '8191]\nbest_of = "squares"\n', (FIRST, "shape [8192, 8192, 8191] is no square", "shapes")
    ),
    "the best of something": Case('"shapes"', '"shape"', (SECOND, "best_of 'shape'", "squares, shapes")),
    "other data": Case('"normal"', '"random"', (FIRST, "data 'random'", "normal, zeros, constant")),
    "an empty method": Case('"a search"', '" "', (SECOND, "method ' ' is empty", "say it")),
    "an empty note": Case('"A note."', '""', (FIRST, "note '' is empty", "leave out")),
    "a source that is not there": Case('= "post"', '= "pots"', (FIRST, "source 'pots'", "did you mean post")),
    "a source that nothing names": Case('= "table"', '= "post"', ("[sources.table]", "delete it or name it")),
    "the same twice": Case(AGAIN, AGAIN + AGAIN, (SECOND, "dtype 'bf16'", FIRST, "delete one")),
    "a measurement that is no table": Case(
        VALID[VALID.index("[[measurements]]") :], "", ("missing", "`measurements`")
    ),
    "no TOML": Case("138.60", "138,60", ("not valid TOML", "line ")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_it(write: Write, case: str) -> None:
    path = write(BAD[case].old, BAD[case].new)
    message = refusal(lambda: read_measurements(path), *BAD[case].parts)
    assert message.startswith(f"{path}: ")


def test_a_file_that_measured_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test-chip.toml"
    path.write_text('chip = "test-chip"\nmeasurements = []\n[sources]\n', encoding="utf-8")
    refusal(lambda: read_measurements(path), str(path), "measurements is empty", "delete the file")
    path.write_text('chip = "test-chip"\nmeasurements = [3]\n[sources]\n', encoding="utf-8")
    refusal(lambda: read_measurements(path), str(path), FIRST, "must be a table, not 3")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"bf16"', '"fp16"'),
        ("[8192, 8192, 8192]", "[8192, 8192, 64]"),
        ("shape = [8192, 8192, 8192]\n", ""),
        ("data =", 'best_of = "squares"\ndata ='),
        ('"normal"', '"zeros"'),
        ("30 calls", "31 calls"),
        ('"post"', '"table"'),
    ],
)
def test_measurements_that_differ_in_anything_but_the_value_may_stand_together(
    write: Write, old: str, new: str
) -> None:
    path = write(AGAIN, AGAIN + AGAIN.replace(old, new))
    assert len(read_measurements(path)) == 3
    path = write(AGAIN, AGAIN + AGAIN.replace("138.60", "140"))
    refusal(lambda: read_measurements(path), SECOND, "delete one")


def test_a_chip_that_is_not_there_is_answered_with_the_nearest(write: Write) -> None:
    path = write(name="h20-69gb")
    measured = read_published_measurements([path.parent.parent])
    refusal(lambda: measured.check_chips(CATALOGUE.ids), str(path), "chip 'h20-69gb'", "did you mean h20-96gb")
    measured.check_chips([*CATALOGUE.ids, "h20-69gb"])


def test_an_overlay_replaces_the_file_of_its_chip_and_says_so(write: Write) -> None:
    write(name="own-chip", folder="mine")
    mine = write(name=H20, folder="mine")
    measured = read_published_measurements(specs_folders(mine.parent.parent))
    assert measured.overridden == (H20,)
    assert {m.path for m in measured[H20]} == {mine}
    assert [m.rate for m in measured["own-chip"]] == [138.6e12, 1e15]
    assert measured[H100] == MEASURED[H100]
    assert {*measured} == {*MEASURED, "own-chip"}


def test_a_bad_file_stops_its_own_chip_only(write: Write) -> None:
    write("138.60", "0", name="bad-chip")
    measured = read_published_measurements([write(name="good-chip").parent.parent, shipped_specs()])
    assert len(measured["good-chip"]) == 2
    assert "bad-chip" in measured
    refusal(lambda: measured["bad-chip"], "bad-chip.toml", FIRST, "value 0 ")
    assert measured.get("no-chip", ()) == ()


UNITS_OF = {
    "bf16": {"GFLOPS": 10**9, "TFLOPS": 10**12, "PFLOPS": 10**15},
    "int8": {"GOPS": 10**9, "TOPS": 10**12, "POPS": 10**15},
}


@given(
    st.decimals("0.0001", "1000", allow_nan=False, allow_infinity=False),
    st.sampled_from([(dtype, unit) for dtype, units in UNITS_OF.items() for unit in units]),
)
def test_any_value_in_any_unit_comes_back_in_base_units(
    tmp_path_factory: pytest.TempPathFactory, value: Decimal, named: tuple[str, str]
) -> None:
    dtype, unit = named
    text = VALID.replace("138.60", f"{value:f}").replace('"TFLOPS"', f'"{unit}"').replace('"bf16"', f'"{dtype}"')
    path = tmp_path_factory.getbasetemp() / "test-chip.toml"
    path.write_text(text, encoding="utf-8")
    measured = read_measurements(path)[0]
    assert measured.rate == float(Fraction(value) * UNITS_OF[dtype][unit])
    assert measured.value == value
