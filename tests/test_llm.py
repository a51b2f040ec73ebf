"""What a step of a language model computes and reads, against counts by hand; and the shapes it is measured in."""

from fractions import Fraction
from itertools import combinations
from itertools import product as every
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.published.chips import Catalogue
from bench.published.models import Matmul, Model, read_models
from bench.published.source import Source, shipped_specs
from bench.workloads.base import Shape
from bench.workloads.llm import STEPS, Product, Step, active_experts, products, shapes

MODELS = read_models([shipped_specs()])
R1, LLAMA = MODELS["deepseek-r1"], MODELS["llama-3-70b"]
CATALOGUE = Catalogue([shipped_specs()])
PREFILL = Step(4096, prefill=True)


def _routing(largest: int) -> st.SearchStrategy[tuple[int, int]]:
    """Experts, and how many of them a token uses."""
    return st.integers(1, largest).flatmap(lambda experts: st.tuples(st.just(experts), st.integers(1, experts)))


@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (2, 1), (3, 2), (4, 1), (4, 2), (4, 4), (5, 3)])
@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_the_active_experts_are_the_mean_over_every_choice_of_every_token(
    experts: int, top_k: int, tokens: int
) -> None:
    choices = [*every([*combinations(range(experts), top_k)], repeat=tokens)]
    used = sum(len({expert for chosen in choice for expert in chosen}) for choice in choices)
    assert active_experts(experts, top_k, tokens) == pytest.approx(used / len(choices), rel=1e-12)


@given(_routing(4096))
def test_one_token_uses_top_k_experts(routing: tuple[int, int]) -> None:
    experts, top_k = routing
    assert active_experts(experts, top_k, 1) == pytest.approx(top_k, rel=1e-10)


@given(_routing(1024), st.integers(1, 10_000), st.integers(1, 10_000))
def test_more_tokens_never_use_fewer_experts(routing: tuple[int, int], tokens: int, more: int) -> None:
    assert active_experts(*routing, tokens) <= active_experts(*routing, tokens + more)


@given(_routing(1024), st.integers(1, 10_000))
def test_the_active_experts_are_among_all_and_no_more_than_were_chosen(
    routing: tuple[int, int], tokens: int
) -> None:
    experts, top_k = routing
    active = active_experts(experts, top_k, tokens)
    assert top_k * (1 - 1e-12) <= active <= experts
    assert active <= tokens * top_k * (1 + 1e-12)


@given(_routing(1024))
def test_in_the_end_every_expert_is_active(routing: tuple[int, int]) -> None:
    experts, top_k = routing
    assert active_experts(experts, top_k, 40 * experts / top_k) == pytest.approx(experts, rel=1e-15)


def test_experts_of_r1_in_decode_and_prefill() -> None:
    shown = [f"{active_experts(256, 8, step.tokens):.2f}" for step in STEPS]
    assert shown == ["8.00", "57.42", "222.44", "255.92", "256.00"]


def _matmul(*, layers: int, per_layer: int, experts: int | None, top_k: int | None) -> Matmul:
    return Matmul(
        name="up",
        part="experts",
        n=32,
        k=64,
        per_layer=per_layer,
        layers=layers,
        dtype="fp8",
        experts=experts,
        top_k=top_k,
        last_token_only=False,
        source=Source(title="A test", grade="paper"),
        note=None,
    )


@given(_routing(512), st.integers(1, 100), st.integers(1, 4), st.integers(1, 100_000), st.booleans())
def test_every_token_is_computed_by_top_k_experts_of_every_layer(
    routing: tuple[int, int], layers: int, per_layer: int, tokens: int, prefill: bool
) -> None:
    experts, top_k = routing
    one = _matmul(layers=layers, per_layer=per_layer, experts=experts, top_k=top_k)
    (product,) = products(R1._replace(matmuls=(one,)), Step(tokens, prefill))
    assert product.rows * product.times == pytest.approx(tokens * top_k * layers * per_layer, rel=1e-12)
    assert product.flop == pytest.approx(2 * 32 * 64 * tokens * top_k * layers * per_layer, rel=1e-12)
    assert product.times <= experts * layers * per_layer
    assert product.rows >= 1 - 1e-12


def test_a_product_that_is_not_routed_is_computed_for_every_token_as_often_as_it_is_there() -> None:
    one = _matmul(layers=5, per_layer=3, experts=None, top_k=None)
    (product,) = products(R1._replace(matmuls=(one,)), Step(7, prefill=True))
    assert (product.rows, product.times, product.flop) == (7, 15, 2 * 7 * 32 * 64 * 15)
    assert product.bytes_moved("int8") == 15 * (7 * 64 + 64 * 32 + 4 * 7 * 32)


class Layer(NamedTuple):
    """Products of one layer by hand: the weights that every token uses, and of one token the sums of k and n.

    Of `routed` a token uses 8 experts of 256, each with so many weights; these are not in `weights`.
    """

    model: Model
    names: set[str]
    layers: int
    weights: int
    inputs: int
    outputs: int
    routed: int = 0


LAYERS = {
    # 7168×1536 + 1536×24576 + 7168×576 + 512×32768 + 16384×7168
    "attention of R1": Layer(R1, {"q_a", "q_b", "kv_a", "kv_b", "o"}, 61, 187_105_280, 32_768, 66_624),
    # 3 × 7168×18432
    "dense layer of R1": Layer(R1, {"gate and up", "down"}, 3, 396_361_728, 25_600, 44_032),
    "router of R1": Layer(R1, {"router"}, 58, 1_835_008, 7168, 256),
    # 3 × 7168×2048
    "shared expert of R1": Layer(R1, {"shared gate and up", "shared down"}, 58, 44_040_192, 9216, 11_264),
    "routed experts of R1": Layer(
        R1, {"expert gate and up", "expert down"}, 58, 0, 8 * 9216, 8 * 11_264, routed=44_040_192
    ),
    "experts of R1 in all": Layer(
        R1,
        {"router", "shared gate and up", "shared down", "expert gate and up", "expert down"},
        58,
        1_835_008 + 44_040_192,
        7168 + 9 * 9216,
        256 + 9 * 11_264,
        routed=44_040_192,
    ),
    # 8192×10240 + 8192×8192 + 3 × 8192×28672
    "layer of Llama": Layer(LLAMA, {"q, k and v", "o", "gate and up", "down"}, 80, 855_638_016, 53_248, 83_968),
    "head of Llama": Layer(LLAMA, {"head"}, 1, 1_050_673_152, 8192, 128_256),
}


def _of(layer: Layer, step: Step) -> list[Product]:
    found = [product for product in products(layer.model, step) if product.matmul.name in layer.names]
    assert len(found) == len(layer.names)
    assert {product.matmul.layers for product in found} == {layer.layers}
    return found


@pytest.mark.parametrize("tokens", [1, 256, 4096])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_the_operations_of_a_count_by_hand(name: str, tokens: int) -> None:
    layer = LAYERS[name]
    counted = 2 * tokens * (layer.weights + 8 * layer.routed)
    flop = sum(product.flop for product in _of(layer, Step(tokens, prefill=False)))
    assert flop / layer.layers == pytest.approx(counted, rel=1e-12)


@pytest.mark.parametrize(("dtype", "bytes_in"), [("fp8", 1), ("bf16", 2)])
@pytest.mark.parametrize("tokens", [1, 256, 4096])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_moves_the_bytes_of_a_count_by_hand(name: str, tokens: int, dtype: str, bytes_in: int) -> None:
    """Weights of experts are read once for each that is used; rows are read by k and written by n in BF16."""
    layer = LAYERS[name]
    used = 256 * (1 - Fraction(31, 32) ** tokens)
    read = layer.weights + used * layer.routed + tokens * layer.inputs
    counted = bytes_in * read + 2 * tokens * layer.outputs
    moved = sum(product.bytes_moved(dtype) for product in _of(layer, Step(tokens, prefill=False)))
    assert moved / layer.layers == pytest.approx(float(counted), rel=1e-12)


def test_attention_of_r1_for_one_token_in_full() -> None:
    found = _of(LAYERS["attention of R1"], Step(1, prefill=False))
    assert sum(product.flop for product in found) == 61 * 374_210_560
    assert sum(product.bytes_moved("fp8") for product in found) == 61 * (187_105_280 + 32_768 + 133_248)
    assert sum(product.bytes_moved("bf16") for product in found) == 61 * (374_210_560 + 65_536 + 133_248)


@pytest.mark.parametrize(
    ("model", "used"),
    [
        (R1, 61 * 187_105_280 + 3 * 396_361_728 + 58 * (1_835_008 + 9 * 44_040_192) + 129_280 * 7168),
        (LLAMA, 80 * 855_638_016 + 128_256 * 8192),
    ],
    ids=["deepseek-r1", "llama-3-70b"],
)
def test_one_token_takes_two_operations_for_each_weight_that_it_uses(model: Model, used: int) -> None:
    flop = sum(product.flop for product in products(model, Step(1, prefill=False)))
    assert flop == pytest.approx(2 * used, rel=1e-12)
    moved = [product.bytes_moved(model.weights) for product in products(model, Step(1, prefill=False))]
    assert sum(moved) > used
    assert sum(moved) == pytest.approx(used if model is R1 else 2 * used, rel=1e-3)


@pytest.mark.parametrize("model", [R1, LLAMA], ids=lambda model: model.id)
def test_the_head_sees_one_row_in_prefill_and_every_row_in_decode(model: Model) -> None:
    for tokens in (1, 8, 4096):
        for prefill in (False, True):
            rows = {one.matmul.name: one.rows for one in products(model, Step(tokens, prefill))}
            assert rows["head"] == (1 if prefill else tokens)
            assert rows["o"] == rows["down"] == tokens


def test_prefill_differs_from_decode_in_the_head_only() -> None:
    decode, prefill = (products(R1, Step(4096, prefill)) for prefill in (False, True))
    changed = [one.matmul.name for one, other in zip(decode, prefill, strict=True) if one != other]
    assert changed == ["head"]


def test_a_step_says_what_it_is() -> None:
    assert [str(step) for step in STEPS] == ["decode 1", "decode 8", "decode 64", "decode 256", "prefill 4096"]


@pytest.mark.parametrize("model", [R1, LLAMA], ids=lambda model: model.id)
def test_the_shapes_are_valid_and_none_is_there_twice(model: Model) -> None:
    found = shapes(model, model.weights)
    assert len({*found}) == len(found)
    assert all(type(side) is int and side >= 1 for shape in found for side in (shape.m, shape.n, shape.k))
    assert {(shape.n, shape.k) for shape in found} == {(one.n, one.k) for one in model.matmuls}
    assert shapes(model, "bf16" if model is R1 else "fp8") == []


@pytest.mark.parametrize("model", [R1, LLAMA], ids=lambda model: model.id)
def test_prefill_asks_for_4096_rows_of_every_product_but_the_head_and_the_experts(model: Model) -> None:
    found = shapes(model, model.weights, [PREFILL])
    for one in model.matmuls:
        assert (Shape(m=4096, n=one.n, k=one.k) in found) is (one.part != "head")
    assert {shape.m for shape in found} == ({1, 128, 4096} if model is R1 else {1, 4096})
    assert {*found} <= {*shapes(model, model.weights)}


def test_experts_of_r1_see_128_rows_of_4096_tokens() -> None:
    """4096 × 8 / 256, all 256 being in use."""
    narrow = {(shape.n, shape.k) for shape in shapes(R1, "fp8", [PREFILL]) if shape.m == 128}
    assert narrow == {(4096, 7168), (7168, 2048)}
    assert Shape(m=128, n=4096, k=7168) in shapes(R1, "fp8")


def test_small_steps_come_first() -> None:
    found = [shape.m for shape in shapes(LLAMA, "bf16")]
    assert found == sorted(found)
    first, *_ = shapes(LLAMA, "bf16", [PREFILL, Step(1, prefill=False)])
    assert first == Shape(m=4096, n=10240, k=8192)


@given(st.sampled_from([R1, LLAMA]), st.lists(st.builds(Step, st.integers(1, 5000), st.booleans()), max_size=4))
def test_the_shapes_of_some_steps_are_those_of_each(model: Model, steps: list[Step]) -> None:
    together = [shape for step in steps for shape in shapes(model, model.weights, [step])]
    found = shapes(model, model.weights, steps)
    assert {*found} == {*together}
    assert len({*found}) == len(found)
    assert all(shape.m <= max(step.tokens for step in steps) for shape in found)


def test_each_product_is_listed_in_its_own_format_only() -> None:
    """Engines may keep the router wider: its shape is then one of that format, and no longer of FP8."""
    matmuls = [one._replace(dtype="bf16") if one.name == "router" else one for one in R1.matmuls]
    model = R1._replace(matmuls=tuple(matmuls))
    wide = shapes(model, "bf16")
    assert wide == [Shape(m=step.tokens, n=256, k=7168) for step in STEPS]
    assert {*wide}.isdisjoint(shapes(model, "fp8"))


@pytest.mark.parametrize(("rows", "whole"), [(0.2, 1), (1.0, 1), (1.149, 1), (2.3, 2), (7.9976, 8), (128.0, 128)])
def test_rows_are_rounded_to_whole_ones_and_never_to_none(rows: float, whole: int) -> None:
    one = _matmul(layers=1, per_layer=1, experts=8, top_k=2)
    assert Product(one, rows, 1.0).shape == Shape(m=whole, n=32, k=64)


def _published(chip: str, name: str) -> float:
    figure = CATALOGUE.chip(chip).figures[name]
    value = figure.in_base_units(figure.value)
    assert isinstance(value, int | float)
    return float(value)


def _at_best(chip: str, step: Step) -> float:
    """The seconds of a step in FP8 if each product is held up by the published peak or bandwidth alone."""
    peak, bandwidth = _published(chip, "fp8"), _published(chip, "memory_bandwidth")
    return sum(max(one.flop / peak, one.bytes_moved("fp8") / bandwidth) for one in products(R1, step))


@pytest.mark.parametrize(
    ("step", "lowest", "highest"),
    [(Step(1, prefill=False), 1.18, 1.20), (Step(256, prefill=False), 1.04, 1.06), (PREFILL, 0.27, 0.29)],
    ids=str,
)
def test_an_h20_decodes_r1_faster_than_an_h100_and_reads_prompts_at_a_quarter_of_its_speed(
    step: Step, lowest: float, highest: float
) -> None:
    assert lowest < _at_best("h100-sxm5-80gb", step) / _at_best("h20-96gb", step) < highest
