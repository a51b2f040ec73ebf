"""A template is a chip file that is valid as it is: save it under its id, and the device is known by it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.published.chips import Catalogue, Chip, read_chip
from bench.published.figures import FIGURES
from bench.published.identify import Identified, identify
from bench.published.source import shipped_specs, specs_folders
from bench.published.template import PrintOut, suggested_id, template

GEFORCE = PrintOut("NVIDIA GeForce RTX 4070", "2786", 46, 12282 * 2**20, "8.9", 36 * 2**20)
SHIPPED = Catalogue([shipped_specs()])


def _saved(folder: Path, text: str, chip_id: str) -> Path:
    path = folder / "chips" / f"{chip_id}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _read(folder: Path, device: PrintOut) -> Chip:
    return read_chip(_saved(folder, template(device), suggested_id(device.name)))


def _identified(catalogue: Catalogue, device: PrintOut) -> Identified:
    return identify(
        catalogue.all(),
        pci_device_id=device.pci_device_id,
        sm_count=device.sm_count,
        memory_bytes=device.memory_bytes,
        mig=False,
    )


def test_saved_in_a_folder_of_one_s_own_it_makes_the_device_known(tmp_path: Path) -> None:
    assert _identified(SHIPPED, GEFORCE).chip is None
    assert _identified(SHIPPED, GEFORCE).describable
    _saved(tmp_path, template(GEFORCE), "nvidia-geforce-rtx-4070")
    found = _identified(Catalogue(specs_folders(tmp_path)), GEFORCE)
    assert found.chip is not None
    assert found.chip.id == "nvidia-geforce-rtx-4070"
    assert found.chip.name == "NVIDIA GeForce RTX 4070"


def test_it_has_every_dense_figure_and_those_that_the_device_tells_are_filled_in(tmp_path: Path) -> None:
    chip = _read(tmp_path, GEFORCE)
    assert set(chip.figures) == {name for name in FIGURES if not name.endswith("_sparse")}
    known = {name: str(figure.value) for name, figure in chip.figures.items() if figure.status == "known"}
    assert known == {"sm_count": "46", "compute_capability": "8.9", "l2": "36"}
    assert {figure.grade for figure in chip.figures.values() if figure.status == "known"} == {"device"}
    assert {figure.status for name, figure in chip.figures.items() if name not in known} == {"unknown"}


def test_every_unknown_figure_says_in_a_comment_what_may_stand_there() -> None:
    lines = [line for line in template(GEFORCE).splitlines() if 'status = "unknown"' in line]
    assert lines
    assert all("# " in line for line in lines)
    assert 'bf16 = { status = "unknown" }  # TFLOPS, dense' in lines
    assert 'int8 = { status = "unknown" }  # TOPS, dense' in lines


def test_the_example_in_its_comment_is_a_figure_that_can_be_read(tmp_path: Path) -> None:
    """Take the comment marks off the example source and figure: what people will do first must work."""
    lines = template(GEFORCE).splitlines()
    lines = [line for line in lines if not line.startswith("bf16 =")]
    start = lines.index("# [sources.sheet]")
    for place in [
        *range(start, start + 5),
        next(i for i, line in enumerate(lines) if line.startswith("# bf16 =")),
    ]:
        lines[place] = lines[place].removeprefix("# ")
    bf16 = lines.pop(next(i for i, line in enumerate(lines) if line.startswith("bf16 =")))
    path = _saved(tmp_path, "\n".join([*lines, bf16]), "nvidia-geforce-rtx-4070")
    figure = read_chip(path).figures["bf16"]
    assert (figure.status, figure.grade, figure.dense) == ("known", "vendor", True)


@pytest.mark.parametrize(
    ("mib", "nominal"),
    [(12282, 12), (24564, 24), (32607, 32), (81559, 80), (97871, 96), (143771, 141), (95830, 94), (40960, 40)],
)
def test_the_memory_is_the_size_that_a_sheet_says(tmp_path: Path, mib: int, nominal: int) -> None:
    assert _read(tmp_path, GEFORCE._replace(memory_bytes=mib * 2**20)).identity.memory_gb == nominal


def test_a_known_chip_keeps_its_id_so_that_the_file_overrides_it_instead_of_being_its_twin(tmp_path: Path) -> None:
    device = PrintOut("NVIDIA H20", "2329", 78, 97871 * 2**20, "9.0", 60 * 2**20)
    _saved(tmp_path, template(device, chip_id="h20-96gb"), "h20-96gb")
    catalogue = Catalogue(specs_folders(tmp_path))
    assert catalogue.overridden == ["h20-96gb"]
    found = _identified(catalogue, device).chip
    assert found is not None
    assert found.path.is_relative_to(tmp_path)


def test_what_a_device_does_not_tell_is_left_to_fill_in_and_identifies_nothing(tmp_path: Path) -> None:
    chip = _read(tmp_path, PrintOut("Mystery"))
    assert chip.identity[:3] == ((), None, None)
    text = template(PrintOut("Mystery"))
    assert "# sm_count =" in text
    assert "# memory_gb =" in text


@pytest.mark.parametrize(
    "name", ["", "  ", "…", 'A "quoted" \\ name\n\x1b[31m', "a" * 200, "NVIDIA H20", "50% {x}"]
)
def test_any_name_gives_a_file_that_can_be_read(tmp_path: Path, name: str) -> None:
    chip = _read(tmp_path, GEFORCE._replace(name=name))
    assert chip.id not in {*SHIPPED.ids, *SHIPPED.aliases}


@given(
    name=st.text(max_size=40),
    sm=st.integers(1, 300),
    memory=st.integers(2**20, 2**40),
    l2=st.integers(1, 2**30) | st.none(),
)
def test_the_round_trip_holds_for_any_device(
    tmp_path_factory: pytest.TempPathFactory, name: str, sm: int, memory: int, l2: int | None
) -> None:
    device = PrintOut(name, "abcd", sm, memory, "12.0", l2)
    chip = _read(tmp_path_factory.getbasetemp() / "round-trip", device)
    found = identify([chip], pci_device_id="abcd", sm_count=sm, memory_bytes=memory, mig=False)
    assert found.chip == chip
