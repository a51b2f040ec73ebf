"""The matrix multiplies of a language model: what one step of it computes and reads, and the cells to measure.

Attention itself, between tokens, is no product with weights: it is not in here, and neither are normalisations,
softmax or communication. A step is a prefill (all tokens of a prompt at once) or a decode (one token of each of
so many sequences).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.published.models import Matmul, Model
from bench.units import DTYPES, STORED_BYTES
from bench.workloads.base import Shape


class Step(NamedTuple):
    """So many `tokens` at once; of a `prefill` the head computes the last one only."""

    tokens: int
    prefill: bool

    def __str__(self) -> str:
        return f"{'prefill' if self.prefill else 'decode'} {self.tokens}"


STEPS: Final = (*(Step(tokens, prefill=False) for tokens in (1, 8, 64, 256)), Step(4096, prefill=True))


class Product(NamedTuple):
    """Products of [rows, k] activations by [k, n] weights, `times` so many in a step; both are means, not whole.

    Of routed experts `times` counts those that some token uses, and `rows` the tokens that each of these sees.
    """

    matmul: Matmul
    rows: float
    times: float

    @property
    def flop(self) -> float:
        """Operations of all of them: 2·rows·n·k each."""
        return 2.0 * self.rows * self.matmul.n * self.matmul.k * self.times

    def bytes_moved(self, dtype: str) -> float:
        """Bytes of all of them in a format: activations and weights read once, outputs written once."""
        one, form = self.matmul, DTYPES[dtype]
        inputs = (self.rows * one.k + one.k * one.n) * STORED_BYTES[form.input]
        return self.times * (inputs + self.rows * one.n * STORED_BYTES[form.output])

    @property
    def shape(self) -> Shape:
        """The shape of one of them, rows rounded to whole ones."""
        return Shape(m=max(1, round(self.rows)), n=self.matmul.n, k=self.matmul.k)


def active_experts(experts: int, top_k: int, tokens: float) -> float:
    """Return how many of `experts` at least one of `tokens` uses, on average: E·(1 − (1 − k/E)^M).

    If every token chooses `top_k` of them evenly and independently of the others. (Real routers are near to that
    by design: their training balances the experts.)
    """
    return float(experts * (1.0 - (1.0 - top_k / experts) ** tokens))


def products(model: Model, step: Step) -> list[Product]:
    """Return what one step computes.

    A routed expert sees M·k/E rows on average, M·k/active if it is used at all; only then are its weights read.
    """
    return [_product(one, step) for one in model.matmuls]


def _product(one: Matmul, step: Step) -> Product:
    tokens = 1 if one.last_token_only and step.prefill else step.tokens
    if one.experts is None or one.top_k is None:
        return Product(one, tokens, one.per_layer * one.layers)
    active = active_experts(one.experts, one.top_k, tokens)
    return Product(one, tokens * one.top_k / active, one.per_layer * one.layers * active)


def shapes(model: Model, dtype: str, steps: Sequence[Step] = STEPS) -> list[Shape]:
    """Return the shapes of a model's products in the format `dtype`, each once, small steps first."""
    wanted = [
        product.shape for step in steps for product in products(model, step) if product.matmul.dtype == dtype
    ]
    return list(dict.fromkeys(wanted))
