"""Language models: the data of specs/models against the sizes that are known, and that it is read strictly."""

import re
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import InvalidRequest
from bench.published.models import read_model, read_models
from bench.published.source import Grade, Seen, shipped_specs, specs_folders
from bench.units import DTYPES
from tests.spec_files import Case, Write, refusal, writer

SPECS = Path(__file__).resolve().parent.parent / "specs"
FILES = sorted((SPECS / "models").iterdir())
MODELS = read_models([SPECS])
R1, LLAMA = "deepseek-r1", "llama-3-70b"


def _gated(hidden: int, inner: int) -> int:
    """The weights of a feed-forward network: gate and up widen, down narrows."""
    return 3 * hidden * inner


def _r1_by_hand() -> int:
    """Count DeepSeek-R1 from its architecture: latent attention, 3 dense layers, 58 of experts."""
    hidden, heads, nope, rope, value, q_lora, kv_lora = 7168, 128, 128, 64, 128, 1536, 512
    queries = hidden * q_lora + q_lora * heads * (nope + rope)
    keys_and_values = hidden * (kv_lora + rope) + kv_lora * heads * (nope + value)
    attention = queries + keys_and_values + heads * value * hidden
    experts = (256 + 1) * _gated(hidden, 2048) + hidden * 256
    return 61 * attention + 3 * _gated(hidden, 18432) + 58 * experts + 2 * 129280 * hidden


def _llama_by_hand() -> int:
    """Count Llama 3 70B from its architecture: grouped queries, every layer dense."""
    hidden, heads, key_heads, width = 8192, 64, 8, 128
    attention = hidden * width * (heads + 2 * key_heads) + heads * width * hidden
    return 80 * (attention + _gated(hidden, 28672)) + 2 * 128256 * hidden


class Known(NamedTuple):
    """What is known of a model: parameters as published and counted by hand, and bytes of each."""

    published: float
    by_hand: int
    bytes_each: int


KNOWN = {R1: Known(671e9, _r1_by_hand(), 1), LLAMA: Known(70.55e9, _llama_by_hand(), 2)}


def test_the_folder_holds_one_file_for_each_model_and_nothing_else() -> None:
    assert [path.name for path in FILES] == [f"{name}.toml" for name in MODELS]
    assert {*MODELS} == {*KNOWN}
    assert len(MODELS) == len(FILES)
    assert MODELS.overridden == ()
    assert {(model.id, model.path) for model in MODELS.values()} == {(path.stem, path) for path in FILES}


@pytest.mark.parametrize("name", KNOWN)
def test_a_model_has_the_parameters_of_its_architecture_and_those_that_were_published(name: str) -> None:
    known = KNOWN[name]
    assert MODELS[name].parameters == known.by_hand
    assert MODELS[name].parameters == pytest.approx(known.published, rel=1e-3)


@pytest.mark.parametrize("name", KNOWN)
def test_a_models_weights_take_the_bytes_of_its_format(name: str) -> None:
    model, known = MODELS[name], KNOWN[name]
    assert model.weight_bytes == known.by_hand * known.bytes_each
    assert {one.dtype for one in model.matmuls} == {model.weights} == {model.embedding_dtype}


@pytest.mark.parametrize("name", MODELS)
def test_every_figure_has_a_source_that_can_be_looked_up(name: str) -> None:
    model = MODELS[name]
    for source in (model.source, *(one.source for one in model.matmuls)):
        assert len(source.title) > 20
        assert source.grade in get_args(Grade)
        assert source.seen in get_args(Seen)
        assert str(source.url).startswith("https://")


@pytest.mark.parametrize("name", MODELS)
def test_every_product_but_those_that_widen_a_low_rank_reads_or_writes_the_models_width(name: str) -> None:
    model = MODELS[name]
    others = {one.name for one in model.matmuls if model.embedding_columns not in {one.n, one.k}}
    assert others == ({"q_b", "kv_b"} if name == R1 else set())
    assert {one.n for one in model.matmuls if one.part == "head"} == {model.embedding_rows}
    assert [one.name for one in model.matmuls if one.last_token_only] == ["head"]


@pytest.mark.parametrize("asked", ["deepseek-r1", "DeepSeek-R1", "deepseek-v3", " DEEPSEEK-V3\n"])
def test_a_model_is_found_by_id_and_other_name_in_any_case(asked: str) -> None:
    assert MODELS.find(asked) == MODELS[R1]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("deepseek-r2", "; did you mean deepseek-r1"),
        ("llama", "; did you mean llama-3-70b?"),
        ("Qwen", "; known: deepseek-r1, deepseek-v3, llama-3-70b"),
    ],
)
def test_a_model_that_is_not_there_is_answered_with_the_nearest(asked: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"no model '{asked}' here{words}")):
        MODELS.find(asked)
    assert asked not in MODELS


VALID: Final = """\
id = "test-model"
name = "A model"
also = ["tested"]
weights = "fp8"
source = "config"
note = "A note."

[sources.config]
title = "config.json"
url = "https://example.org/config.json"
grade = "vendor"
seen = "original"

[sources.table]
title = "A table"
grade = "analyst"

[embedding]
rows = 1000
columns = 64
dtype = "bf16"
source = "table"

[[matmuls]]
name = "router"
part = "experts"
n = 16
k = 64
layers = 3
dtype = "fp32"

[[matmuls]]
name = "up"
part = "experts"
n = 128
k = 65
per_layer = 2
layers = 5
experts = 8
top_k = 4
source = "table"
note = "Its note."

[[matmuls]]
name = "head"
part = "head"
n = 999
k = 63
layers = 1
last_token_only = true
"""
TABLES = VALID[VALID.index("[sources.config]") : VALID.index("[embedding]")]
EMBEDDING = VALID[VALID.index("[embedding]") : VALID.index("[[matmuls]]")]
PRODUCTS = VALID[VALID.index("[[matmuls]]") :]
SPARE = '[sources.spare]\ntitle = "A page"\ngrade = "paper"'
ROUTER, UP, HEAD = "[[matmuls]] 1", "[[matmuls]] 2", "[[matmuls]] 3"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file, by default the valid one with one text replaced."""
    return writer(tmp_path, VALID, "models", 'id = "test-model"')


def test_a_file_is_read_as_it_was_written(write: Write) -> None:
    path = write()
    model = read_model(path)
    assert model[:4] == ("test-model", "A model", ("tested",), "fp8")
    assert model[5:8] == (1000, 64, "bf16")
    assert (model.source.title, model.note, model.path) == ("config.json", "A note.", path)
    router, up, head = model.matmuls
    assert router[:9] == ("router", "experts", 16, 64, 1, 3, "fp32", None, None)
    assert router[9:] == (False, model.source, None)
    assert up[:9] == ("up", "experts", 128, 65, 2, 5, "fp8", 8, 4)
    assert (up.source.title, up.note, up.last_token_only) == ("A table", "Its note.", False)
    assert (head.part, head.dtype, head.last_token_only) == ("head", "fp8", True)


def test_weights_are_counted_in_all_layers_and_experts_each_in_its_own_format(write: Write) -> None:
    model = read_model(write())
    router, up, head = model.matmuls
    assert (router.matrices, up.matrices, head.matrices) == (3, 2 * 5 * 8, 1)
    assert (router.weight_bytes, up.weight_bytes, head.weight_bytes) == (3 * 1024 * 4, 80 * 8320, 62937)
    assert model.parameters == 64000 + 3072 + 665600 + 62937
    assert model.weight_bytes == 2 * 64000 + 4 * 3072 + 665600 + 62937
    assert read_model(write('"fp8"', '"nvfp4"')).matmuls[2].weight_bytes == 62937 / 2


BAD = {
    "another id": Case('id = "test-model"', 'id = "other"', ("id 'other'", "named after its model")),
    "an unknown key of the file": Case("weights =", "weight =", ("unknown key 'weight'", "did you mean weights")),
    "an unknown key of a source": Case("seen =", "sean =", ("[sources.config]", "'sean'", "did you mean seen")),
    "an unknown key of the embedding": Case("rows =", "row =", ("[embedding]", "'row'", "did you mean rows")),
    "an unknown key": Case("per_layer =", "pre_layer =", (UP, "'pre_layer'", "did you mean per_layer")),
    "no weights": Case('weights = "fp8"\n', "", ("missing", "`weights`")),
    "no source": Case('source = "config"\n', "", ("missing", "`source`")),
    "no sources": Case(TABLES, "", ("missing", "`sources`")),
    "no embedding": Case(EMBEDDING, "", ("missing", "`embedding`")),
    "no products": Case(PRODUCTS, "", ("missing", "`matmuls`")),
    "no layers": Case("layers = 3\n", "", (ROUTER, "missing", "`layers`")),
    "no title": Case('title = "A table"\n', "", ("[sources.table]", "missing", "`title`")),
    "an unknown grade": Case('"analyst"', '"analist"', ("[sources.table]", "grade 'analist'", "vendor, device")),
    "an unknown part": Case('part = "head"', 'part = "had"', (HEAD, "part 'had'", "attention, dense, experts")),
    "unknown weights": Case('"fp8"', '"fp88"', ("weights 'fp88'", "did you mean fp8")),
    "an unknown format": Case('"fp32"', '"fp23"', (ROUTER, "dtype 'fp23'", "did you mean fp32")),
    "an unknown embedding": Case('"bf16"', '"bf61"', ("[embedding]", "dtype 'bf61'", "did you mean bf16")),
    "a side of nothing": Case("n = 16\n", "n = 0\n", (ROUTER, "n 0:", ">= 1")),
    "a side below nothing": Case("k = 65", "k = -65", (UP, "k -65:", ">= 1")),
    "a true side": Case("n = 16\n", "n = true\n", (ROUTER, "n True:", "`int`")),
    "a side with a point": Case("n = 16\n", "n = 16.0\n", (ROUTER, "n 16.0:", "`int`")),
    "a side in quotes": Case("k = 65", 'k = "65"', (UP, "k '65':", "`int`")),
    "no layer": Case("layers = 3", "layers = 0", (ROUTER, "layers 0:", ">= 1")),
    "none in a layer": Case("per_layer = 2", "per_layer = 0", (UP, "per_layer 0:", ">= 1")),
    "no row": Case("rows = 1000", "rows = 0", ("[embedding]", "rows 0:", ">= 1")),
    "true columns": Case("columns = 64", "columns = true", ("[embedding]", "columns True:", "`int`")),
    "a huge n": Case("n = 16\n", f"n = {2**40 + 1}\n", (ROUTER, f"n {2**40 + 1} ", "beyond any model")),
    "a huge k": Case("k = 65", f"k = {10**30}", (UP, f"k {10**30} ", "beyond any model")),
    "too many layers": Case("layers = 5", f"layers = {2**63}", (UP, f"layers {2**63} ", "beyond any model")),
    "too many in a layer": Case("layer = 2", f"layer = {2**64}", (UP, f"per_layer {2**64} ", "beyond any model")),
    "experts without top_k": Case("top_k = 4\n", "", (UP, "experts 8 and top_k None", "go together")),
    "top_k without experts": Case("experts = 8\n", "", (UP, "experts None and top_k 4", "go together")),
    "top_k above the experts": Case("top_k = 4", "top_k = 9", (UP, "experts 8 and top_k 9", "of the experts")),
    "top_k of nothing": Case("top_k = 4", "top_k = 0", (UP, "top_k 0:", ">= 1")),
    "half a truth": Case("only = true", "only = 1", (HEAD, "last_token_only 1:", "`bool`")),
    "another source": Case('"table"\nnote', '"tabel"\nnote', (UP, "source 'tabel'", "did you mean table")),
    "another source of a table": Case('"table"\n\n[[', '"t"\n\n[[', ("[embedding]", "'t' is not in [sources]")),
    "another source of the model": Case('= "config"', '= "confi"', ("'confi'", "did you mean config")),
    "a source that nothing names": Case("[embedding]", f"{SPARE}\n[embedding]", ("[sources.spare]", "delete it")),
    "the same twice": Case('"up"', '"router"', (UP, "experts has a 'router' already", "another name")),
    "sources that are no table": Case(TABLES, "sources = 3\n", ("sources 3:",)),
    "a source that is a number": Case(TABLES, "sources = { a = 3 }\n", ("[sources.a]", "a table, not 3")),
    "other names in one text": Case('["tested"]', '"tested"', ("also 'tested':",)),
    "no TOML": Case("k = 65", "k = 6,5", ("not valid TOML", "line ")),
    "a key twice": Case("k = 65", "k = 65\nk = 65", ("not valid TOML", "line ")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_it(write: Write, case: str) -> None:
    path = write(BAD[case].old, BAD[case].new)
    message = refusal(lambda: read_model(path), *BAD[case].parts)
    assert message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("matmuls", "parts"),
    [("[]", ("matmuls is empty", "[[matmuls]]")), ("[3]", (ROUTER, "a table, not 3")), ("3", ("matmuls 3:",))],
)
def test_a_model_without_a_product_is_refused(tmp_path: Path, matmuls: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "test-model.toml"
    path.write_text(f"matmuls = {matmuls}\n" + VALID.replace(PRODUCTS, ""), encoding="utf-8")
    refusal(lambda: read_model(path), f"{path}: ", *parts)


def test_a_file_that_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test-model.toml"
    refusal(lambda: read_model(path), f"{path}: cannot be read", "check that it exists")
    path.write_bytes(VALID.encode().replace(b"A model", b"A mod\xe9l"))
    refusal(lambda: read_model(path), f"{path}: not UTF-8 (byte 31)", "save it as UTF-8")


def test_the_largest_side_all_experts_at_once_and_a_name_of_another_part_are_allowed(write: Write) -> None:
    assert read_model(write("n = 16\n", f"n = {2**40}\n")).matmuls[0].n == 2**40
    assert [one.name for one in read_model(write('"head"\npart', '"up"\npart')).matmuls] == ["router", "up", "up"]
    assert read_model(write("top_k = 4", "top_k = 8")).matmuls[1].top_k == 8


@pytest.mark.parametrize("old", ['source = "table"\n\n', 'source = "table"\nnote = "Its note."\n'])
def test_what_names_no_source_has_the_models(write: Write, old: str) -> None:
    """And a source that is named only once, by the embedding or by a product, is in use."""
    model = read_model(write(old, "\n"))
    assert {one.source for one in model.matmuls} >= {model.source}
    assert (model.matmuls[1].source == model.source) is ("note" in old)


def test_an_overlay_replaces_the_file_of_its_model_and_says_so(write: Write) -> None:
    write(name="a-model", folder="mine")
    mine = write(name=R1, folder="mine")
    models = read_models(specs_folders(mine.parent.parent))
    assert models.overridden == (R1,)
    assert (models[R1].path, models[R1].name) == (mine, "A model")
    assert models[LLAMA] == read_models([shipped_specs()])[LLAMA]
    assert [*models] == ["a-model", R1, LLAMA]
    assert read_models([mine.parent.parent, SPECS])[R1] == MODELS[R1]


def test_a_bad_file_stops_its_own_model_only(write: Write) -> None:
    write("n = 16\n", "n = 0\n", name="bad-model")
    models = read_models([write(name="good-model").parent.parent])
    assert models.find("good-model").id == "good-model"
    assert "bad-model" in models
    refusal(lambda: models.find("bad-model"), "bad-model.toml", ROUTER, "n 0:")


@given(st.lists(st.integers(1, 2**40), min_size=4, max_size=4), st.integers(1, 2**20), st.sampled_from([*DTYPES]))
def test_any_counts_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], experts: int, dtype: str
) -> None:
    n, k, per_layer, layers = counts
    text = VALID.replace("n = 128\nk = 65", f"n = {n}\nk = {k}").replace("experts = 8", f"experts = {experts + 3}")
    text = text.replace("per_layer = 2\nlayers = 5", f"per_layer = {per_layer}\nlayers = {layers}")
    path = tmp_path_factory.getbasetemp() / "test-model.toml"
    path.write_text(text.replace('"fp8"', f'"{dtype}"'), encoding="utf-8")
    model = read_model(path)
    assert model.matmuls[1][2:9] == (n, k, per_layer, layers, dtype, experts + 3, 4)
    assert model.parameters == 64000 + 3072 + 62937 + n * k * per_layer * layers * (experts + 3)
