"""A chip is known by PCI id, SM count and memory. The oracle is pci.ids: its product names are read here, by rules
that know nothing of the PCI ids in specs/, and say which chip of the catalogue a device may be."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.published.chips import Catalogue, Chip
from bench.published.identify import Identified, identify, memory_bounds
from bench.published.source import shipped_specs

CHIPS = Catalogue([shipped_specs()]).all()
MIB, GIB = 2**20, 2**30

DATA = Path(__file__).parent / "data"


class Seen(NamedTuple):
    """What a device tells: a row of devices.csv, where no expectation stands; the oracle makes them."""

    name: str
    pci: str | None
    sm: int | None
    mib: int | None
    mig: bool = False


def _seen() -> Iterator[Seen]:
    rows = list(csv.reader((DATA / "devices.csv").read_text(encoding="utf-8").splitlines()))
    for name, pci, sm, mib, mig in rows[1:]:
        yield Seen(name, pci or None, int(sm) if sm else None, int(mib) if mib else None, mig == "mig")


SEEN = list(_seen())

# --- the oracle ---------------------------------------------------------------------------------------------

# Brands, editions and cooling; of the GH200, 120GB and 480GB are the memory of the CPU beside it.
SAY_NOTHING = {
    "NVIDIA", "TESLA", "GEFORCE", "QUADRO", "HGX", "SKU", "GENERATION", "WORKSTATION", "SERVER", "EDITION", "AC",
    "120GB", "480GB",
}  # fmt: skip
# NVIDIA's own list of ids (in the README of its driver) gives this id another name than pci.ids does.
ALSO = {"20f6": "A800 40GB Active"}


class Product(NamedTuple):
    """A name taken apart: the words of the model, and form, memory and kind of memory where it says them."""

    words: frozenset[str]
    form: str | None = None
    gigabytes: float | None = None
    memory: str | None = None

    def may_be(self, chip: "Product") -> bool:
        said = zip(self[1:], chip[1:], strict=True)
        return self.words == chip.words and all(None in (mine, its) or mine == its for mine, its in said)

    @property
    def details(self) -> int:
        return sum(part is not None for part in self[1:])


def _product(name: str) -> Product:
    words, form, gigabytes, memory = set(), None, None, None
    for token in re.findall(r"[A-Z0-9]+", name.upper()):
        if token in SAY_NOTHING:
            continue
        if found := re.fullmatch(r"(\d+)GB?", token):
            gigabytes = float(found[1])
        elif found := re.fullmatch(r"(SXM|PCIE|NVL)\d*", token):
            form = found[1]
        elif re.fullmatch(r"(HBM|GDDR)\d+\w*", token):
            memory = token
        elif found := re.fullmatch(r"(H\d00)L", token):  # H100L is the H100 NVL
            words.add(found[1])
            form = "NVL"
        else:
            words.add(token)
    return Product(frozenset(words), form, gigabytes, memory)


def _published() -> dict[str, list[Product]]:
    """The products of every id: 'GA107GL [A2 / A16]' is two; a part without a model repeats the first's."""
    products = {}
    for row in csv.DictReader((DATA / "pci-ids.csv").read_text(encoding="utf-8").splitlines()):
        found = re.search(r"\[(.*)\]", row["name"])
        parts = [_product(part) for part in found[1].split(" / ")] if found else []
        parts = [part._replace(words=part.words or parts[0].words) for part in parts]
        products[row["device_id"]] = parts
    for pci, name in ALSO.items():
        products[pci].append(_product(name))
    return products


PRODUCTS = _published()
EVERY = [product for products in PRODUCTS.values() for product in products]


def _as_product(chip: Chip) -> Product:
    """What a chip is by its name and, where that says nothing, by its published figures; not by its identity."""
    product = _product(chip.name)
    figures = {name: str(figure.value) for name, figure in chip.figures.items() if figure.value is not None}
    form = re.search(r"SXM|PCIE", figures.get("form_factor", "").upper())
    return product._replace(
        form=product.form or (form[0] if form else None),
        gigabytes=float(figures["memory_size"]) if "memory_size" in figures else product.gigabytes,
        memory=figures.get("memory_type", product.memory or "").upper().replace(" ", "") or None,
    )


def _ids_of(chip: Chip) -> set[str]:
    """The ids that pci.ids gives to this chip: those whose names agree with it and say most about it."""
    product = _as_product(chip)
    most = max((p.details for p in EVERY if p.may_be(product)), default=0)
    return {pci for pci, found in PRODUCTS.items() if any(p.may_be(product) and p.details == most for p in found)}


IDS = {chip.id: _ids_of(chip) for chip in CHIPS}


def _may_be(seen: Seen) -> list[Chip]:
    """The chips that a device may be: by pci.ids' name for its id, and by the published SM count and memory."""
    if seen.mig or None in (seen.pci, seen.sm, seen.mib):
        return []
    return [chip for chip in CHIPS if seen.pci in IDS[chip.id] and _has_the_figures(chip, seen)]


def _has_the_figures(chip: Chip, seen: Seen) -> bool:
    """SMs are exact. Memory is what the sheet says, in GiB, less ECC's sixteenth and 3.5 % for the driver."""
    sm, nominal = chip.figures.get("sm_count"), _as_product(chip).gigabytes
    if sm is None or sm.value is None or nominal is None or seen.mib is None:
        return False
    return seen.sm == int(str(sm.value)) and 15 / 16 * 0.965 <= seen.mib / 1024 / nominal <= 1


# --- the claims ---------------------------------------------------------------------------------------------


def _identified(seen: Seen, chips: Sequence[Chip] = CHIPS) -> Identified:
    memory = None if seen.mib is None else seen.mib * MIB
    return identify(chips, pci_device_id=seen.pci, sm_count=seen.sm, memory_bytes=memory, mig=seen.mig)


@pytest.mark.parametrize("seen", SEEN, ids=lambda seen: "-".join(map(str, seen)))
def test_a_device_is_the_chip_that_pci_ids_names_or_unknown(seen: Seen) -> None:
    allowed = _may_be(seen)
    found = _identified(seen).chip
    assert found is None or found in allowed, f"{found.id} is not what pci.ids says"
    if len(allowed) == 1:
        assert found is not None, (
            f"{allowed[0].id} was not recognised; pci.ids gives it the ids {IDS[allowed[0].id]}"
        )


def test_the_table_is_long_and_its_honest_half_is_recognised() -> None:
    """A function that always says unknown, or an oracle that allows nothing, would fail here."""
    assert len(SEEN) >= 60
    recognised = {chip.id for seen in SEEN if (chip := _identified(seen).chip)}
    assert recognised >= {
        "h20-96gb", "h20-141gb", "h200-sxm-141gb", "h200-nvl-141gb", "h100-sxm5-80gb", "h100-pcie-80gb",
        "h100-nvl-94gb", "h800-sxm5-80gb", "h800-pcie-80gb", "a100-sxm4-40gb", "a100-sxm4-80gb", "a100-pcie-40gb",
        "a100-pcie-80gb", "a800-sxm4-80gb", "a800-pcie-80gb",
    }  # fmt: skip


def test_the_oracle_tells_what_differs_only_in_form_memory_or_kind() -> None:
    assert IDS["h20-96gb"] == {"2329"}
    assert IDS["h20-141gb"] == {"232c"}
    assert IDS["h100-sxm5-80gb"] == {"2330"}
    assert IDS["h800-sxm5-80gb"] == {"2324"}
    assert IDS["a100-pcie-40gb"] == {"20b1", "20f1"}


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.id)
def test_the_ids_in_a_file_are_those_that_pci_ids_gives_to_the_chip(chip: Chip) -> None:
    known = {pci for pci in chip.identity.pci_device_ids if pci in PRODUCTS}
    assert known <= IDS[chip.id], "pci.ids knows these ids as something else"


def test_no_two_chips_of_one_pci_id_can_be_taken_for_each_other() -> None:
    for one in CHIPS:
        for other in CHIPS:
            same = {*one.identity.pci_device_ids} & {*other.identity.pci_device_ids}
            if one.id >= other.id or not same or one.identity.sm_count != other.identity.sm_count:
                continue
            (_, most), (least, _) = sorted(memory_bounds(chip.identity.memory_gb or 0) for chip in (one, other))
            assert most < least, f"{one.id} and {other.id} share {same}, SM count and memory"


def test_a_name_decides_nothing() -> None:
    """The table's devices that call themselves H20 with the id of an H200 are what the id says, or unknown."""
    lies = [seen for seen in SEEN if seen.name == "NVIDIA H20" and seen.pci == "2335"]
    assert [chip and chip.id for chip, *_ in map(_identified, lies)] == ["h200-sxm-141gb", None]


def _chip(chip_id: str) -> Chip:
    return next(chip for chip in CHIPS if chip.id == chip_id)


H20, H100 = _chip("h20-96gb"), _chip("h100-sxm5-80gb")
TWIN = H20._replace(id="twin")
NO_SM = H20._replace(identity=H20.identity._replace(sm_count=None))
NO_MEMORY = H20._replace(identity=H20.identity._replace(memory_gb=None))


@pytest.mark.parametrize(
    ("chips", "told", "evidence"),
    [
        ([H100], ("2330", 132, 81559), "PCI id 2330, 132 SM, 85.5 GB"),
        ([H20], ("233d", 132, 97871), "PCI id 233d is no chip here"),
        ([H20], ("2329", 132, 97871), "PCI id 2329 is h20-96gb, but 132 SM are not its 78"),
        ([H20], ("2329", 78, 49152), "PCI id 2329 is h20-96gb, but 51.5 GB are not its 96 (92.8 to 105.1)"),
        ([H20], ("2329", None, 97871), "PCI id 2329 is h20-96gb, but the device does not tell its SM count"),
        ([H20], ("2329", 78, None), "PCI id 2329 is h20-96gb, but the device does not tell its memory"),
        ([NO_SM], ("2329", 78, 97871), "PCI id 2329 is h20-96gb, but its file gives no SM count"),
        ([NO_MEMORY], ("2329", 78, 97871), "PCI id 2329 is h20-96gb, but its file gives no memory"),
        ([H20], (None, 78, 97871), "no PCI id is known"),
        ([H20], ("2329", 78, 97871, True), "a MIG slice is not the whole chip"),
        ([TWIN, H20], ("2329", 78, 97871), "h20-96gb and twin both fit"),
        (
            [TWIN, H20],
            ("2329", 9, 97871),
            "PCI id 2329 is h20-96gb, but 9 SM are not its 78; or twin, but 9 SM are not its 78",
        ),
    ],
)
def test_the_evidence_is_one_line_that_says_what_decided(
    chips: list[Chip], told: tuple[Any, ...], evidence: str
) -> None:
    found = _identified(Seen("", *told), chips)
    assert found.evidence == evidence
    assert found.chip == (H100 if chips == [H100] else None)


@pytest.mark.parametrize(
    ("told", "describable"),
    [
        (("ffff", 132, 97871), True),
        (("2329", 132, 97871), True),
        (("ffff", None, 97871), False),
        (("ffff", 132, None), False),
        ((None, 132, 97871), False),
        (("ffff", 132, 97871, True), False),
        (("2329", 78, 97871), False),
    ],
)
def test_a_file_of_its_own_is_proposed_only_where_it_would_make_the_device_known(
    told: tuple[Any, ...], describable: bool
) -> None:
    assert _identified(Seen("", *told), [H20, TWIN]).describable is describable


@pytest.mark.parametrize(
    ("mib", "nominal"),
    [
        *[(81559, 80), (97285, 96), (143156, 141), (40536, 40), (16160, 16), (24564, 24), (32607, 32)],
        *[(46068, 48), (45589, 48), (23034, 24), (22563, 24), (15360, 16), (14918, 16)],  # GDDR with ECC on
    ],
)
def test_what_devices_report_lies_within_the_bounds_and_the_next_size_does_not(mib: int, nominal: int) -> None:
    least, most = memory_bounds(nominal)
    assert least <= mib * MIB <= most
    assert mib * MIB < memory_bounds(nominal * 1.25)[0]


_IDS = st.sampled_from(sorted({pci for chip in CHIPS for pci in chip.identity.pci_device_ids}))
_SMS = st.sampled_from(sorted({chip.identity.sm_count or 1 for chip in CHIPS})) | st.integers(1, 300)
_GIBS = st.sampled_from(sorted({chip.identity.memory_gb or 1.0 for chip in CHIPS})).flatmap(
    lambda gib: st.floats(0.85 * gib, 1.05 * gib)
) | st.floats(1, 300)


@given(pci=_IDS, sm=_SMS, gib=_GIBS)
def test_a_chip_is_never_found_whose_own_numbers_are_others(pci: str, sm: int, gib: float) -> None:
    found = identify(CHIPS, pci_device_id=pci, sm_count=sm, memory_bytes=int(gib * GIB), mig=False).chip
    if found is not None:
        assert pci in found.identity.pci_device_ids
        assert sm == found.identity.sm_count
        assert 0.89 < gib / (found.identity.memory_gb or 0) < 1.03


@given(chips=st.permutations([*CHIPS, TWIN]), seen=st.sampled_from(SEEN))
def test_the_order_of_the_chips_does_not_matter(chips: list[Chip], seen: Seen) -> None:
    assert _identified(seen, chips) == _identified(seen, sorted(chips, key=lambda chip: chip.id))
