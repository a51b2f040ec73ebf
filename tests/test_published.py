"""Every way to get a chip file wrong is one line that names file, table, field and value."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from bench.errors import ChipbenchError, InvalidRequest, SpecError
from bench.published.chips import Catalogue, Chip, read_chip
from bench.published.source import shipped_specs, specs_folders

VALID = """\
id = "test-chip"
name = "Test Chip"

[designed_for]
value = "data-centre"
source = "sheet"

[identity]
pci_device_ids = ["2abc", "00ff"]
sm_count = 132
memory_gb = 80

[sources.sheet]
title = "A sheet"
url = "https://example.org/sheet.pdf"
grade = "vendor"
seen = "original"

[sources.press]
title = "A magazine"
grade = "analyst"

[figures.architecture]
value = "Tester"
source = "sheet"

[figures.bf16]
value = 989.4
unit = "TFLOPS"
dense = true
accumulate = "fp32"
source = "sheet"
alternatives = [{ value = 989, source = "press", note = "Rounded." }]

[figures.bf16_sparse]
value = 1978.8
unit = "TFLOPS"
dense = false
source = "sheet"

[figures.fp4]
status = "inapplicable"

[figures.fp8]
status = "unknown"

[figures.boost_clock]
value = 1.98
unit = "GHz"
source = "press"

[figures.launched]
value = 2022-09-20
source = "sheet"

[figures.flop_per_clock_per_sm.bf16]
value = 4096
unit = "FLOP/clock/SM"
source = "sheet"
"""
BF16 = "[figures.bf16]"
BOOST_LINE = VALID[: VALID.index("value = 1.98")].count("\n") + 1

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a chip file, by default the valid one with one text replaced."""

    def write_chip(old: str = "", new: str = "", *, name: str = "test-chip", folder: str = "specs") -> Path:
        assert VALID.count(old) == 1 or not old, f"{old!r} is there {VALID.count(old)} times"
        text = VALID.replace('id = "test-chip"', f'id = "{name}"') if name != "test-chip" else VALID
        path = tmp_path / folder / "chips" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new) if old else text, encoding="utf-8")
        return path

    return write_chip


def _refusal(read: Callable[[], object], kind: type[ChipbenchError], exit_code: int, *parts: str) -> str:
    with pytest.raises(kind) as caught:
        read()
    message = str(caught.value)
    assert caught.value.exit_code == exit_code
    assert "\n" not in message
    for part in parts:
        assert part in message, f"{part!r} is not in {message!r}"
    return message


def test_the_unchanged_text_is_a_valid_chip(write: Write) -> None:
    chip = read_chip(write())
    assert (chip.id, chip.name, chip.cut_from) == ("test-chip", "Test Chip", None)
    assert chip.identity.pci_device_ids == ("2abc", "00ff")
    statuses = {name: figure.status for name, figure in chip.figures.items()}
    assert [name for name, status in statuses.items() if status != "known"] == ["fp4", "fp8"]
    assert (len(statuses), statuses["fp4"], statuses["fp8"]) == (8, "inapplicable", "unknown")
    assert read_chip(write("value = 1978.8", "value = 1979")).figures["bf16_sparse"].dense is False  # rounded


BAD = {
    "missing source": ('fp32"\nsource = "sheet"', 'fp32"', (BF16, "source is missing", "[sources]")),
    "unlisted source": ('fp32"\nsource = "sheet"', 'fp32"\nsource = "shet"',
                        (BF16, "source 'shet' is not in [sources]", "did you mean sheet?")),
    "unlisted source of an alternative": ('source = "press", note', 'source = "pres", note',
                                          (BF16, "alternatives[0]", "'pres'", "did you mean press?")),
    "unlisted source of the market": ('"data-centre"\nsource = "sheet"', '"data-centre"\nsource = "x"',
                                      ("[designed_for]", "source 'x'", "known: sheet, press")),
    "unlisted source of the identity": ("memory_gb = 80", 'memory_gb = 80\nsource = "x"',
                                        ("[identity]", "source 'x'")),
    "no hexadecimal digit": ("2abc", "2abX", ("[identity]", "'2abX' must be four lower-case hex digits")),
    "alternative without source": (', source = "press", note', ", note", (BF16, "alternatives[0]", "`source`")),
    "misspelt key": ('accumulate = "fp32"', 'acumulate = "fp32"', (BF16, "'acumulate'", "accumulate?")),
    "misspelt table": ("[identity]", "[identty]", ("unknown key 'identty'", "did you mean identity")),
    "misspelt figure": (BF16, "[figures.bf61]", ("[figures.bf61]", "no such figure", "bf16")),
    "misspelt inner figure": ("per_sm.bf16", "per_sm.bf17", ("[figures.flop_per_clock_per_sm.bf17]", "sm.bf16")),
    "missing table": ('[identity]\npci_device_ids = ["2abc", "00ff"]\nsm_count = 132\nmemory_gb = 80\n', "",
                      ("missing required field `identity`",)),
    "figure that is no table": (BF16, "[figures]\nfp32 = 98.9\n[figures.bf16]",
                                ("[figures.fp32]", "must be a table, not 98.9")),
    "empty figure": ('[figures.fp4]\nstatus = "inapplicable"', "[figures.fp4]", ("[figures.fp4]", "give either")),
    "both value and status": ("value = 989.4", 'value = 989.4\nstatus = "unknown"', (BF16, "either a value or")),
    "unknown status": ('status = "unknown"', 'status = "secret"',
                       ("[figures.fp8]", "status 'secret'", "unknown, inapplicable")),
    "negative": ("value = 989.4", "value = -989.4", (BF16, "value -989.4", "above 0")),
    "zero": ("value = 989.4", "value = 0.0", (BF16, "value 0.0", "above 0")),
    "NaN": ("value = 989.4", "value = nan", (BF16, "value NaN", "finite")),
    "infinite": ("value = 989.4", "value = inf", (BF16, "value Infinity", "finite")),
    "beyond any float": ("value = 989.4", "value = 1e999", (BF16, "value 1E+999", "finite")),
    "an integer beyond any float": ("value = 989.4", f"value = 1{'0' * 400}", (BF16, "value 1000", "finite")),
    "too near to zero": ("value = 989.4", "value = 1e-999", (BF16, "value 1E-999", "above 0")),
    "bool": ("value = 989.4", "value = true", (BF16, "value True", "must be a number")),
    "text": ("value = 989.4", 'value = "989.4"', (BF16, "value '989.4'", "a number, without quotes")),
    "negative alternative": ("value = 989, ", "value = -1, ", (BF16, "alternatives[0]: value -1", "above 0")),
    "alternative that is no table": ("alternatives = [{", "alternatives = [5, {",
                                     (BF16, "alternatives[0]", "must be a table, not 5")),
    "number for a text": ('value = "Tester"', "value = 9.0", ("[figures.architecture]", "value 9.0", "in quotes")),
    "empty text": ('value = "Tester"', 'value = " "', ("[figures.architecture]", "value ' '", "not empty")),
    "date in quotes": ("value = 2022-09-20", 'value = "2022-09-20"',
                       ("[figures.launched]", "value '2022-09-20'", "without quotes")),
    "date with a time": ("value = 2022-09-20", "value = 2022-09-20T10:00:00", ("[figures.launched]", "a date")),
    "sparse under the dense name": ('dense = true\naccumulate = "fp32"', "dense = false",
                                    (BF16, "value 989.4 is sparse", "belongs under figures.bf16_sparse")),
    "dense under the sparse name": ("dense = false", "dense = true",
                                    ("[figures.bf16_sparse]", "value 1978.8 is dense", "under figures.bf16")),
    "sparse equal to dense": ("value = 1978.8", "value = 989.4",
                              ("[figures.bf16_sparse]", "value 989.4 is 1 × the dense", "mislabelled")),
    "missing dense": ('dense = true\naccumulate = "fp32"', "", (BF16, "dense is missing")),
    "dense where it says nothing": ('unit = "GHz"', 'unit = "GHz"\ndense = true',
                                    ("[figures.boost_clock]", "dense says nothing here")),
    "unknown unit": ('unit = "GHz"', 'unit = "Gigahertz"',
                     ("[figures.boost_clock]", "unit 'Gigahertz'", "use MHz, GHz")),
    "unit of another figure": ('unit = "GHz"', 'unit = "TOPS"', ("[figures.boost_clock]", "unit 'TOPS'", "GHz")),
    "missing unit": ('unit = "GHz"\n', "", ("[figures.boost_clock]", "unit is missing", "use MHz, GHz")),
    "unit of a text": ('value = "Tester"', 'value = "T"\nunit = "W"', ("[figures.architecture]", "takes none")),
    "id that is not the file's": ('id = "test-chip"', 'id = "chip-test"', ("id 'chip-test'", "must be named")),
    "bad grade": ('grade = "vendor"', 'grade = "seller"',
                  ("[sources.sheet]", "grade 'seller'", "vendor, device, paper, analyst, reseller, derived")),
    "bad seen": ('seen = "original"', 'seen = "copy"', ("[sources.sheet]", "seen 'copy'", "mirror, quoted")),
    "source without title": ('title = "A magazine"\n', "", ("[sources.press]", "`title`")),
    "title that is no text": ('title = "A magazine"', "title = 7", ("[sources.press]", "title 7", "`str`")),
    "unknown market": ('value = "data-centre"', 'value = "games"', ("[designed_for]", "'games'", "consumer")),
    "PCI id that is too short": ('"2abc"', '"abc"', ("[identity]", "pci_device_ids 'abc'", "four lower-case hex")),
    "PCI id in capitals": ('"2abc"', '"2ABC"', ("[identity]", "pci_device_ids '2ABC'", "four lower-case hex")),
    "PCI id that is a number": ('"2abc"', "2330", ("[identity]", "pci_device_ids", "2330", "`str`")),
    "no multiprocessors": ("sm_count = 132", "sm_count = 0", ("[identity]", "sm_count 0", "above 0")),
    "half a multiprocessor": ("sm_count = 132", "sm_count = 0.5", ("[identity]", "sm_count 0.5", "`int")),
    "memory that is no number": ("memory_gb = 80", "memory_gb = nan", ("[identity]", "memory_gb NaN", "finite")),
    "memory beyond any": ("memory_gb = 80", "memory_gb = 10_000_001", ("memory_gb 10000001", "at most 1e+07")),
    "malformed TOML": ("value = 1.98", "value = 1.98 GHz", ("not valid TOML", f"line {BOOST_LINE}, column 14")),
    "a table twice": ("[figures.fp4]", "[figures.fp8]", ("not valid TOML", "figures")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_it(write: Write, case: str) -> None:
    old, new, parts = BAD[case]
    path = write(old, new)
    _refusal(lambda: read_chip(path), SpecError, 3, f"{path}: ", *parts)


def test_a_file_that_is_not_utf_8(write: Write) -> None:
    path = write()
    path.write_bytes(VALID.encode().replace(b"A magazine", b"Caf\xe9"))
    _refusal(lambda: read_chip(path), SpecError, 3, str(path), f"not UTF-8 (byte {VALID.index('A magazine') + 3})")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    _refusal(lambda: read_chip(gone), SpecError, 3, str(gone), "cannot be read (No such file")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    _refusal(lambda: read_chip(folder), SpecError, 3, str(folder), "cannot be read (Is a directory)")


def test_an_id_that_another_file_has_is_called_a_duplicate(write: Write) -> None:
    twin = write()
    copy = twin.with_name("copy.toml")
    copy.write_text(VALID, encoding="utf-8")
    _refusal(lambda: read_chip(copy), SpecError, 3, str(copy), "duplicate id", "test-chip.toml has it too")


def test_a_file_that_is_not_named_after_its_id(write: Write) -> None:
    moved = write().rename(write().with_name("other.toml"))
    message = _refusal(lambda: read_chip(moved), SpecError, 3, str(moved))
    assert message.endswith("id 'test-chip' does not match the file name; the file must be named after its id")


def test_an_id_that_could_not_be_asked_for(write: Write) -> None:
    """Chips are asked for without regard to capitals, so that a file with capitals would never be found."""
    path = write(name="Test-Chip")
    _refusal(lambda: read_chip(path), SpecError, 3, str(path), "id 'Test-Chip' must be lower-case letters")


def test_a_full_strength_part_that_is_not_there(write: Write) -> None:
    write(name="big-chip")
    path = write('name = "Test Chip"', 'name = "Test Chip"\ncut_from = "big-chop"')
    catalogue = Catalogue([path.parent.parent])
    _refusal(lambda: catalogue.chip("test-chip"), SpecError, 3, str(path), "cut_from 'big-chop'", "big-chip?")
    assert catalogue.chip("big-chip").cut_from is None
    write('name = "Test Chip"', 'name = "Test Chip"\ncut_from = "zzzzzz"', name="far-chip")
    message = _refusal(lambda: Catalogue([path.parent.parent]).chip("far-chip"), SpecError, 3)
    assert message.endswith("cut_from 'zzzzzz' is no chip here; 'chipbench chips' lists all")


@pytest.mark.parametrize("alternative", ["989", "989.4"])
def test_a_figure_is_disputed_only_if_a_source_gives_another_value(write: Write, alternative: str) -> None:
    chip = read_chip(write("value = 989, ", f"value = {alternative}, "))
    assert chip.figures["bf16"].disputed is (alternative == "989")


def _base(chip: Chip, name: str) -> object:
    return chip.figures[name].in_base_units(chip.figures[name].value)


def test_values_are_exact_decimals_of_the_printed_text(write: Write) -> None:
    chip = read_chip(write())
    assert chip.figures["bf16"].value == Decimal("989.4")
    assert _base(chip, "bf16") == 989_400_000_000_000
    assert isinstance(_base(chip, "bf16"), int)
    assert _base(chip, "boost_clock") == 1_980_000_000
    assert chip.figures["launched"].value == date(2022, 9, 20)
    assert _base(chip, "launched") == "2022-09-20"
    assert _base(chip, "fp8") is None


def test_a_bad_figure_stops_its_own_chip_only(write: Write) -> None:
    write("value = 989.4", "value = -1", name="bad-chip")
    catalogue = Catalogue([write(name="good-chip").parent.parent])
    assert catalogue.chip("good-chip").id == "good-chip"
    _refusal(lambda: catalogue.chip("bad-chip"), SpecError, 3, "bad-chip.toml: [figures.bf16]: value -1")
    _refusal(catalogue.all, SpecError, 3, "bad-chip.toml")


@pytest.mark.parametrize(
    ("name", "hint"), [("h2o", "did you mean h20"), ("zzzzzz", "'chipbench chips' lists all")]
)
def test_an_unknown_chip_is_answered_with_the_nearest(name: str, hint: str) -> None:
    catalogue = Catalogue([shipped_specs()])
    _refusal(lambda: catalogue.resolve(name), InvalidRequest, 2, f"unknown chip '{name}'; {hint}")


def test_an_alias_stands_for_one_chip_and_says_which_others_it_could_have_meant() -> None:
    catalogue = Catalogue([shipped_specs()])
    resolved = catalogue.resolve(" H100 ")
    assert (resolved.chip.id, resolved.alias) == ("h100-sxm5-80gb", "h100")
    assert catalogue.siblings("h100") == ["h100-nvl-94gb", "h100-pcie-80gb"]
    assert catalogue.siblings("h20") == ["h20-141gb"]  # no h200
    assert catalogue.resolve("H100-PCIE-80GB").alias is None


def test_an_alias_for_a_chip_that_is_not_there_names_the_file_of_aliases(write: Write) -> None:
    folder = write().parent.parent
    aliases = folder / "aliases.toml"
    aliases.write_text('[aliases]\nTC = "test-chop"\n', encoding="utf-8")
    catalogue = Catalogue([folder])
    _refusal(lambda: catalogue.resolve("tc"), SpecError, 3, str(aliases), "'test-chop'", "mean test-chip?")
    aliases.write_text('[alias]\ntc = "test-chip"\n', encoding="utf-8")
    _refusal(lambda: Catalogue([folder]), SpecError, 3, str(aliases), "'alias'", "did you mean aliases?")


def test_an_overlay_adds_and_overrides_and_says_what(write: Write) -> None:
    write(name="own-chip", folder="mine")
    overlay = write("value = 989.4", "value = 990", name="h20-96gb", folder="mine").parent.parent
    (overlay / "aliases.toml").write_text('[aliases]\nmine = "own-chip"\n', encoding="utf-8")
    catalogue = Catalogue(specs_folders(overlay))
    assert catalogue.overridden == ["h20-96gb"]
    assert catalogue.resolve("h20").chip.figures["bf16"].value == 990
    assert catalogue.resolve("mine").chip.path == overlay / "chips" / "own-chip.toml"
    assert catalogue.resolve("h100").chip.id == "h100-sxm5-80gb"
    assert catalogue.context == ("h20", "h100")
    assert catalogue.in_use == ("h100", "h200")
    (overlay / "aliases.toml").write_text('[context]\nin_use = ["own-chip"]\n', encoding="utf-8")
    catalogue = Catalogue(specs_folders(overlay))
    assert (catalogue.context, catalogue.in_use) == (("h20", "h100"), ("own-chip",))


def test_a_wrong_alias_is_told_by_the_file_that_has_it(write: Write) -> None:
    first, second = write().parent.parent, write(name="own-chip", folder="mine").parent.parent
    for folder, text in ((first, 'lost = "gone"'), (second, 'own = "own-chip"')):
        (folder / "aliases.toml").write_text(f"[aliases]\n{text}\n", encoding="utf-8")
    catalogue = Catalogue([first, second])
    assert catalogue.resolve("own").chip.id == "own-chip"
    _refusal(lambda: catalogue.resolve("lost"), SpecError, 3, str(first / "aliases.toml"), "lost = 'gone'")


def test_an_overlay_that_could_change_nothing_is_refused(tmp_path: Path, write: Write) -> None:
    gone = tmp_path / "gone"
    _refusal(lambda: specs_folders(gone), SpecError, 3, str(gone), "no such specs folder")
    too_deep = write().parent
    _refusal(lambda: specs_folders(too_deep), SpecError, 3, str(too_deep), "holds none of chips/*.toml")


def test_the_first_figure_that_was_published_is_taken(write: Write) -> None:
    chip = read_chip(write())
    assert chip.first_known(("tdp", "fp8", "bf16", "boost_clock")) is chip.figures["bf16"]
    assert chip.first_known(("tdp", "fp8", "fp4")) is None
    assert chip.first_known(()) is None


def test_a_number_is_in_base_units_and_what_is_none_has_no_number(write: Write) -> None:
    chip = read_chip(write())
    assert [chip.number(name) for name in ("bf16", "boost_clock")] == [989.4e12, 1.98e9]
    assert isinstance(chip.number("bf16"), float)
    assert [chip.number(name) for name in ("architecture", "launched", "fp8", "tdp")] == [None] * 4


def test_a_chip_keeps_where_its_market_and_its_identity_were_read(write: Write) -> None:
    assert read_chip(write()).designed_for[1:] == (read_chip(write()).sources["sheet"], None)
    assert list(read_chip(write()).sources) == ["sheet", "press"]
    chip = read_chip(write("memory_gb = 80", 'memory_gb = 80\nsource = "press"\nnote = "By hand."'))
    assert chip.identity[1:] == (132, 80.0, chip.sources["press"], "By hand.")
    assert read_chip(write()).identity[3:] == (None, None)
    chip = read_chip(write('"data-centre"\nsource = "sheet"', '"consumer"\nnote = "Nobody says."'))
    assert chip.designed_for == ("consumer", None, "Nobody says.")


def test_what_tells_a_product_apart_may_be_unknown(write: Write) -> None:
    told = 'pci_device_ids = ["2abc", "00ff"]\nsm_count = 132\nmemory_gb = 80\n'
    assert read_chip(write(told, "")).identity == ((), None, None, None, None)
    path = write("memory_gb = 80", "memory_gb = inf")
    _refusal(lambda: read_chip(path), SpecError, 3, "[identity]", "memory_gb Infinity must be finite")
    least = read_chip(write("sm_count = 132\nmemory_gb = 80", "sm_count = 1\nmemory_gb = 0.5")).identity
    assert (least.sm_count, least.memory_gb) == (1, 0.5)


def test_a_catalogue_knows_its_ids_and_aliases_and_nothing_else(write: Write) -> None:
    folder = write().parent.parent
    (folder / "aliases.toml").write_text('[aliases]\nTC = "test-chip"\n', encoding="utf-8")
    catalogue = Catalogue([folder])
    assert [catalogue.has(name) for name in (" Test-Chip ", "tc", "TC", "test", "")] == [True] * 3 + [False] * 2
    assert catalogue.known("test-chip") is catalogue.chip("test-chip")
    assert [catalogue.known(name) for name in ("tc", "gone", None)] == [None] * 3


def test_the_chips_that_were_cut_from_one_are_those_that_say_so(write: Write) -> None:
    """A chip that is only mentioned, as in a note, was not cut from it."""
    write(name="big-chip")
    for name in ("small-b", "small-a"):
        write('name = "Test Chip"', 'name = "Test Chip"\ncut_from = "big-chip"', name=name)
    write("Rounded.", "As of big-chip.", name="other-chip")
    broken = write(name="broken-chip")
    broken.write_text("not read at all", encoding="utf-8")
    catalogue = Catalogue([broken.parent.parent])
    assert [chip.id for chip in catalogue.offspring("big-chip")] == ["small-a", "small-b"]
    assert catalogue.offspring("small-a") == []


@pytest.mark.parametrize("sparse", ["1988.694", "1968.906", "1988.7", "1968.9"])
def test_a_sparse_rate_is_twice_the_dense_one_within_half_a_percent(write: Write, sparse: str) -> None:
    path = write("value = 1978.8", f"value = {sparse}")  # 989.4 × 2.01 and × 1.99, and what is just beyond
    if len(sparse) == len("1988.694"):
        assert read_chip(path).figures["bf16_sparse"].value == Decimal(sparse)
    else:
        _refusal(lambda: read_chip(path), SpecError, 3, "[figures.bf16_sparse]", "mislabelled")


def test_a_sparse_rate_is_held_against_a_dense_one_that_was_published_only(write: Write) -> None:
    sparse = '\n[figures.fp8_sparse]\nvalue = 3958\nunit = "TFLOPS"\ndense = false\nsource = "sheet"'
    unknown = '[figures.fp8]\nstatus = "unknown"'
    assert read_chip(write(unknown, unknown + sparse)).number("fp8_sparse") == 3.958e15
