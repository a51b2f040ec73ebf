"""The data of specs/: every file is read and held to the rules of specs/README.md and to well-known values."""

import re
import tomllib
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from bench.published.chips import Catalogue, Chip, read_chip
from bench.published.figures import FIGURES, Figure
from bench.report.chips import MARKS

SPECS = Path(__file__).resolve().parent.parent / "specs"
FILES = sorted((SPECS / "chips").iterdir())
CATALOGUE = Catalogue([SPECS])

PROMISED = {
    "a10", "a30", "a40", "t4",
    "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm4-40gb", "a100-sxm4-80gb",
    "a800-40gb-active", "a800-pcie-40gb", "a800-pcie-80gb", "a800-sxm4-40gb", "a800-sxm4-80gb",
    "b200-sxm-180gb", "b300-sxm-270gb", "b30a", "gb200-186gb", "gb300-279gb", "gh200-144gb", "gh200-96gb",
    "h100-nvl-94gb", "h100-pcie-80gb", "h100-sxm5-80gb",
    "h20-141gb", "h20-96gb",
    "h200-nvl-141gb", "h200-sxm-141gb",
    "h800-pcie-80gb", "h800-sxm5-80gb",
    "l2", "l20", "l4", "l40", "l40s",
    "rtx3090", "rtx4090", "rtx4090d", "rtx5090", "rtx5090d", "rtx5090d-v2",
    "rtx5000ada", "rtx6000ada", "rtx6000d", "rtxpro6000",
    "v100-pcie-32gb", "v100-sxm2-32gb",
}  # fmt: skip
EXPORT_VARIANTS = {
    "a800-40gb-active", "a800-pcie-40gb", "a800-pcie-80gb", "a800-sxm4-40gb", "a800-sxm4-80gb", "b30a",
    "h20-141gb", "h20-96gb", "h800-pcie-80gb", "h800-sxm5-80gb", "l2", "l20", "rtx4090d", "rtx5090d",
    "rtx5090d-v2", "rtx6000d",
}  # fmt: skip
ALIASES = {
    "h20": "h20-96gb", "h100": "h100-sxm5-80gb", "h200": "h200-sxm-141gb", "h800": "h800-sxm5-80gb",
    "h20-3e": "h20-141gb",
    "h100-pcie": "h100-pcie-80gb",
    "h100-nvl": "h100-nvl-94gb",
    "h200-nvl": "h200-nvl-141gb",
    "h800-pcie": "h800-pcie-80gb",
    "gh200": "gh200-96gb", "a100": "a100-sxm4-80gb", "a800": "a800-sxm4-80gb", "v100": "v100-sxm2-32gb",
    "b200": "b200-sxm-180gb", "gb200": "gb200-186gb", "b300": "b300-sxm-270gb", "gb300": "gb300-279gb",
    "3090": "rtx3090", "4090": "rtx4090", "4090d": "rtx4090d", "5090": "rtx5090", "5090d": "rtx5090d",
}  # fmt: skip

# In base units; wide enough for every GPU from 2016 to some years ahead, and for no slip of a prefix.
PLAUSIBLE = {
    "sm_count": (1, 300),
    "boost_clock": (0.5e9, 4e9),
    "fp64": (0.1e12, 200e12),
    "fp64_tensor": (0.1e12, 200e12),
    "fp32": (5e12, 500e12),
    "tf32": (20e12, 5e15),
    "fp16": (50e12, 10e15),
    "fp16_acc16": (100e12, 10e15),
    "bf16": (50e12, 10e15),
    "fp8": (100e12, 20e15),
    "fp8_acc16": (200e12, 20e15),
    "int8": (100e12, 20e15),
    "fp4": (500e12, 40e15),
    "memory_size": (8e9, 1e12),
    "memory_bandwidth": (100e9, 20e12),
    "l2": (1e6, 1e9),
    "nvlink": (50e9, 4e12),
    "pcie": (3, 7),
    "tdp": (50, 2000),
    "die_area": (100, 2000),
    "transistors": (1e9, 1e12),
}
# Every chip file says something of these: a value, "unknown" or "inapplicable".
LOOKED_FOR = {*PLAUSIBLE} - {"fp16_acc16", "fp8_acc16"} | {
    "launched", "memory_type", "form_factor", "architecture", "compute_capability", "process",
}  # fmt: skip

# Ratios of one sheet's rates that are not those of its architecture, and why.
PROPORTIONS = (
    ("fp16", "bf16", 1),
    ("fp8", "bf16", 2),
    ("int8", "bf16", 2),
    ("tf32", "bf16", 0.5),
    ("fp8", "int8", 1),
)
ODD_RATIOS = {
    # GeForce sums FP16 and FP8 products in FP32 at half the rate; INT8 runs at the whole one.
    **{(chip, "int8", "bf16"): 4 for chip in ("rtx3090", "rtx4090", "rtx4090d", "rtx5090")},
    **{(chip, "fp8", "int8"): 0.5 for chip in ("rtx4090", "rtx4090d", "rtx5090")},
    # INT8 was all but left out of Blackwell Ultra.
    **{
        ("b300-sxm-270gb", *names): ratio
        for names, ratio in ((("int8", "bf16"), 0.0682), (("fp8", "int8"), 29.32))
    },
    **{("gb300-279gb", *names): ratio for names, ratio in ((("int8", "bf16"), 0.066), (("fp8", "int8"), 30.3))},
    # Rounded on the sheets.
    **{(chip, "tf32", "bf16"): 0.4889 for chip in ("b200-sxm-180gb", "b300-sxm-270gb")},
    ("l40s", "fp8", "bf16"): 2.0246,
    ("l40s", "int8", "bf16"): 2.0246,
    ("l40s", "tf32", "bf16"): 0.5055,
    ("rtx3090", "tf32", "bf16"): 0.5014,
    ("rtx5000ada", "tf32", "bf16"): 0.5019,
}

# Read off the makers' sheets and the H20's press sheet by hand; values as printed, with their unit.
WELL_KNOWN = [
    ("h100-sxm5-80gb", "bf16", "989.4", "TFLOPS"),
    ("h100-sxm5-80gb", "fp8", "1978.9", "TFLOPS"),
    ("h100-sxm5-80gb", "sm_count", "132", "SM"),
    ("h100-sxm5-80gb", "memory_bandwidth", "3350", "GB/s"),
    ("h100-sxm5-80gb", "nvlink", "900", "GB/s"),
    ("h100-sxm5-80gb", "tdp", "700", "W"),
    ("h100-pcie-80gb", "sm_count", "114", "SM"),
    ("h100-pcie-80gb", "tdp", "350", "W"),
    ("h100-nvl-94gb", "memory_size", "94", "GB"),
    ("h20-96gb", "fp8", "296", "TFLOPS"),
    ("h20-96gb", "bf16", "148", "TFLOPS"),
    ("h20-96gb", "memory_size", "96", "GB"),
    ("h20-96gb", "memory_bandwidth", "4000", "GB/s"),
    ("h20-96gb", "sm_count", "78", "SM"),
    ("h20-141gb", "memory_size", "141", "GB"),
    ("h200-sxm-141gb", "memory_size", "141", "GB"),
    ("h200-sxm-141gb", "memory_bandwidth", "4800", "GB/s"),
    ("h800-sxm5-80gb", "nvlink", "400", "GB/s"),
    ("a100-sxm4-80gb", "bf16", "312", "TFLOPS"),
    ("a100-sxm4-80gb", "int8", "624", "TOPS"),
    ("a100-sxm4-80gb", "tf32", "156", "TFLOPS"),
    ("a100-sxm4-80gb", "fp64_tensor", "19.5", "TFLOPS"),
    ("a100-sxm4-80gb", "nvlink", "600", "GB/s"),
    ("a100-sxm4-80gb", "memory_bandwidth", "2039", "GB/s"),
    ("a100-sxm4-40gb", "memory_bandwidth", "1555", "GB/s"),
    ("a800-sxm4-80gb", "nvlink", "400", "GB/s"),
    ("a800-pcie-80gb", "nvlink", "400", "GB/s"),
    ("a30", "tf32", "82.6", "TFLOPS"),
    ("b200-sxm-180gb", "fp4", "9000", "TFLOPS"),
    ("gb300-279gb", "fp4", "15000", "TFLOPS"),
    ("gh200-144gb", "memory_bandwidth", "4900", "GB/s"),
    ("v100-sxm2-32gb", "fp16", "125", "TFLOPS"),
    ("t4", "tdp", "70", "W"),
    ("l40s", "fp8", "733", "TFLOPS"),
    ("l4", "memory_bandwidth", "300", "GB/s"),
    ("l20", "fp8", "239", "TFLOPS"),
    ("l2", "fp8", "193", "TFLOPS"),
    ("rtx4090", "int8", "660.6", "TOPS"),
    ("rtx4090", "fp16_acc16", "330.3", "TFLOPS"),
    ("rtx4090", "die_area", "608.5", "mm2"),
    ("rtx4090d", "sm_count", "114", "SM"),
    ("rtx5090", "fp4", "1676", "TFLOPS"),
    ("rtx5090d", "fp4", "1187.5", "TFLOPS"),
]
# From the PCI ID repository.
PCI_IDS = {
    "h20-96gb": "2329",
    "h20-141gb": "232c",
    "h100-sxm5-80gb": "2330",
    "h100-pcie-80gb": "2331",
    "h100-nvl-94gb": "2321",
    "h200-sxm-141gb": "2335",
    "h200-nvl-141gb": "233b",
    "h800-sxm5-80gb": "2324",
    "h800-pcie-80gb": "2322",
    "a100-sxm4-80gb": "20b2",
    "a800-sxm4-80gb": "20f3",
}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def chip(request: pytest.FixtureRequest) -> Chip:
    """Each shipped chip in turn."""
    path: Path = request.param
    return CATALOGUE.chip(path.stem)


def _number(chip: Chip, name: str) -> float | None:
    figure = chip.figures.get(name)
    value = figure and figure.in_base_units(figure.value)
    return value if isinstance(value, int | float) else None


def _known(chip: Chip) -> list[Figure]:
    return [figure for figure in chip.figures.values() if figure.value is not None]


def test_the_folder_holds_the_promised_chips_and_nothing_that_is_not_read() -> None:
    assert {path.name for path in FILES} == {f"{chip_id}.toml" for chip_id in PROMISED}


def test_a_chip_is_named_after_its_file(chip: Chip) -> None:
    assert chip.id == chip.path.stem
    assert chip.path.parent == SPECS / "chips"
    assert chip.name.startswith("NVIDIA ")


def test_every_value_is_plausible(chip: Chip) -> None:
    for name in chip.figures:
        value = _number(chip, name)
        if value is not None and not name.startswith("flop_per_clock"):
            lo, hi = PLAUSIBLE[name]
            assert lo <= value <= hi, f"{name}: {value:.4g}"


def test_an_alternative_beyond_a_factor_of_three_says_why(chip: Chip) -> None:
    for figure in _known(chip):
        for alternative in figure.alternatives:
            value = figure.in_base_units(alternative.value)
            own = figure.in_base_units(figure.value)
            if isinstance(value, int | float) and isinstance(own, int | float):
                where = f"{figure.name}: {alternative.value} beside {figure.value}"
                assert 1 / 3 < value / own < 3 or alternative.note, where


def test_tensor_rates_keep_their_proportions(chip: Chip) -> None:
    for name, other, ratio in PROPORTIONS:
        value, reference = _number(chip, name), _number(chip, other)
        if value is not None and reference is not None:
            expected = ODD_RATIOS.get((chip.id, name, other), ratio)
            assert value / reference == pytest.approx(expected, rel=2e-3), (name, other)


def test_no_odd_ratio_is_kept_that_is_none() -> None:
    for (chip_id, name, other), ratio in ODD_RATIOS.items():
        value, reference = (_number(CATALOGUE.chip(chip_id), rate) for rate in (name, other))
        assert value, (chip_id, name)
        assert reference, (chip_id, other)
        assert value / reference == pytest.approx(ratio, rel=2e-3)


def test_a_sparse_rate_is_twice_the_dense_one(chip: Chip) -> None:
    for figure in _known(chip):
        if FIGURES[figure.name].rate:
            assert figure.dense is not figure.name.endswith("_sparse")
            value, sparse = _number(chip, figure.name), _number(chip, f"{figure.name}_sparse")
            if value is not None and sparse is not None:
                assert sparse / value == pytest.approx(2, rel=1e-3)


def test_a_dense_rate_says_what_sums_it(chip: Chip) -> None:
    for figure in _known(chip):
        if FIGURES[figure.name].rate:
            assert figure.accumulate == _summed_in(figure.name), figure.name


def _summed_in(rate: str) -> str:
    if rate.startswith("int"):
        return "int32"
    if rate.endswith("_acc16"):
        return "fp16"
    return "fp64" if "fp64" in rate else "fp32"


def test_the_tensor_rate_follows_from_multiprocessors_and_clock(chip: Chip) -> None:
    """FLOP per clock and SM is only given where SMs x clock makes the published rate, within the clock's range."""
    sms, clock = _number(chip, "sm_count"), _number(chip, "boost_clock")
    for name in (name for name in chip.figures if name.startswith("flop_per_clock_per_sm.")):
        per_clock, rate = _number(chip, name), _number(chip, name.removeprefix("flop_per_clock_per_sm."))
        assert per_clock, name
        assert rate, name
        assert sms, name
        assert clock, name
        assert 0.9 < rate / (per_clock * sms * clock) <= 1.005, name


def test_a_cut_down_chip_names_a_full_strength_one_and_is_nowhere_above_it_in_what_was_cut(chip: Chip) -> None:
    if chip.cut_from is None:
        return
    full = CATALOGUE.chip(chip.cut_from)
    assert full.cut_from is None
    assert _family(chip) in (None, _family(full))
    for name in ("bf16", "fp8", "fp4", "fp64", "fp64_tensor", "nvlink", "sm_count"):
        own, whole = _number(chip, name), _number(full, name)
        if own is not None and whole is not None:
            assert own <= whole * 1.001, name
    below = [_number(chip, name) != _number(full, name) for name in ("bf16", "fp8", "fp4", "nvlink")]
    assert any(below), "nothing was cut"


def _family(chip: Chip) -> str | None:
    """The architecture without the name of the die."""
    value = chip.figures["architecture"].value
    return None if value is None else str(value).split(" (")[0]


def test_the_export_variants_are_the_ones_that_were_cut() -> None:
    cut = {chip.id for chip in CATALOGUE.all() if chip.cut_from is not None}
    assert cut == EXPORT_VARIANTS


def test_every_value_has_a_source_with_title_and_grade(chip: Chip) -> None:
    for figure in _known(chip):
        for source in (figure.source, *(alternative.source for alternative in figure.alternatives)):
            assert source is not None, figure.name
            assert source.title.strip()
            assert source.grade in MARKS
            assert source.url is None or re.fullmatch(r"https?://\S+", source.url)


def test_a_value_that_nobody_printed_says_how_it_was_derived(chip: Chip) -> None:
    for figure in _known(chip):
        if figure.grade == "derived":
            assert figure.note, figure.name
    if chip.designed_for.source is None:
        assert chip.designed_for.note


def test_no_source_is_unused(chip: Chip) -> None:
    raw = tomllib.loads(chip.path.read_text(encoding="utf-8"))
    used = set(re.findall(r'\bsource = "([^"]+)"', chip.path.read_text(encoding="utf-8")))
    assert set(raw["sources"]) == used


def test_what_was_looked_for_is_the_same_for_every_chip(chip: Chip) -> None:
    """A figure that is merely missing was not looked for; those that tell the family apart all were."""
    assert {*chip.figures} >= LOOKED_FOR


def test_pci_ids_belong_to_one_chip_each_and_are_the_repository_s() -> None:
    counted = Counter(device_id for chip in CATALOGUE.all() for device_id in chip.identity.pci_device_ids)
    assert not [device_id for device_id, count in counted.items() if count > 1]
    for chip_id, device_id in PCI_IDS.items():
        assert CATALOGUE.chip(chip_id).identity.pci_device_ids == (device_id,)


def test_identity_agrees_with_the_figures(chip: Chip) -> None:
    assert chip.identity.pci_device_ids or chip.identity.note, "no PCI id, and no word why"
    assert chip.identity.sm_count == _number(chip, "sm_count")
    size = _number(chip, "memory_size")
    assert chip.identity.memory_gb == (None if size is None else size / 1e9)
    named = re.search(r"-(\d+)gb", chip.id)
    if named and size is not None:
        assert int(named[1]) == round(size / 1e9)


def test_aliases_and_context_resolve_to_the_common_product() -> None:
    assert CATALOGUE.aliases == ALIASES
    for alias, chip_id in ALIASES.items():
        assert CATALOGUE.resolve(alias).chip.id == chip_id
        assert alias not in CATALOGUE.ids
    assert [CATALOGUE.resolve(name).chip.id for name in CATALOGUE.context] == ["h20-96gb", "h100-sxm5-80gb"]


@pytest.mark.parametrize(("chip_id", "name", "value", "unit"), WELL_KNOWN)
def test_well_known_values(chip_id: str, name: str, value: str, unit: str) -> None:
    figure = CATALOGUE.chip(chip_id).figures[name]
    assert (figure.value, figure.unit) == (Decimal(value), unit)


def test_the_h20_s_fp8_rate_times_8_bits_is_2368_exactly() -> None:
    raw = tomllib.loads((SPECS / "chips" / "h20-96gb.toml").read_text(encoding="utf-8"), parse_float=Decimal)
    assert Decimal(raw["figures"]["fp8"]["value"]) * 8 == 2368
    assert _number(CATALOGUE.chip("h20-96gb"), "fp8") == 296_000_000_000_000
    assert Decimal(raw["figures"]["bf16"]["value"]) * 16 == 2368


def test_the_readme_s_closed_list_is_the_one_that_is_read() -> None:
    table = (SPECS / "README.md").read_text(encoding="utf-8").split("## Figures")[1].split("\n## ")[0]
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)
    }
    per_clock = "flop_per_clock_per_sm."
    read = {f"{per_clock}<rate>" if name.startswith(per_clock) else name for name in FIGURES}
    assert listed == {name for name in read if not name.endswith("_sparse")}


def test_a_chip_may_have_as_much_memory_as_anything_has(tmp_path: Path) -> None:
    """The next number is refused in `test_published`."""
    path = tmp_path / "h20-96gb.toml"
    path.write_text(
        (SPECS / "chips" / path.name).read_text(encoding="utf-8").replace("memory_gb = 96", "memory_gb = 1e7")
    )
    assert read_chip(path).identity.memory_gb == 1e7
