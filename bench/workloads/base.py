"""Cells and plans: what is to be measured, named so exactly that equal keys mean comparable measurements."""

from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from bench.units import STORED_BYTES, Dtype, dtype_of, format_si

Data = Literal["normal", "zeros", "constant"]
L2Mode = Literal["rotate", "hot"]
Load = Literal["alone", "together"]

# Operations that move numbers and compute next to nothing, and how many arrays a call reads and writes.
STREAMS: Final = MappingProxyType({"copy": 2, "triad": 3})
BANDWIDTH: Final = ("memory_bandwidth",)
PEER_COPY: Final = "peer_copy"  # what moves numbers to another device
LINK: Final = ("nvlink",)  # published as the total of both ways

# Order-independent and without white space: the same cell always gives the same bytes.
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


# Bounds of what is read of a record; more than the largest is in no memory, and no float counts it exactly.
Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
NotNegative = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product of an m×k by a k×n matrix."""

    m: Positive
    n: Positive
    k: Positive

    def __str__(self) -> str:
        if self.m == self.n == self.k:
            return f"{self.m}³"
        return f"{self.m}×{self.n}×{self.k}"


# What a cell is of unless something else was asked for; only what is not so is told of it.
USUAL: Final = MappingProxyType({"data": "normal", "regime": "steady", "load": "alone"})
ShapeClass = Literal["small", "medium", "large"]
# Octaves around 2048: rates of larger products hardly grow any more.
MEDIUM, LARGE = 1448, 2896


def shape_class(shape: Shape | None) -> ShapeClass | None:
    """Return how large a product is, by the geometric mean of m, n and k against MEDIUM and LARGE."""
    if shape is None:
        return None
    volume = shape.m * shape.n * shape.k
    return "large" if volume >= LARGE**3 else "medium" if volume >= MEDIUM**3 else "small"


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing to measure; two measurements may be compared only if their cells are equal.

    A field that is absent does not apply. `regime` is "steady", "burst" or "sustained:SECONDS"; `l2` says
    whether calls rotate over operands that do not fit the cache or stay on one set; `load` whether other
    devices of the machine are busy; `peer` is the other device of a peer copy, by the index that it has beside
    this one, and `ways` 1 if it is only written to, 2 if it writes back at the same time. A product has a `shape`;
    a copy, a triad and a peer copy have `elements`, the numbers in each of their arrays.
    """

    operation: str
    version: Positive
    input: str | None = None
    compute: str | None = None
    output: str | None = None
    shape: Shape | None = None
    data: Data | None = None
    library: str | None = None
    l2: L2Mode | None = None
    regime: str | None = None
    fast_accumulate: bool | None = None
    load: Load | None = None
    peer: NotNegative | None = None
    elements: Positive | None = None
    ways: Literal[1, 2] | None = None

    @property
    def key(self) -> str:
        """The canonical JSON of this cell: fields sorted, absent ones left out, no white space."""
        return _CANONICAL.encode(self).decode()

    @property
    def dtype(self) -> Dtype | None:
        """The named number format of this cell, or None if its three types have no common name."""
        return dtype_of(input_type=self.input or "", compute=self.compute or "", output=self.output or "")

    @property
    def dtype_name(self) -> str:
        """What people call the number format: its name, or the input type if it has none."""
        return self.dtype.name if self.dtype else self.input or "–"

    @property
    def dtype_label(self) -> str:
        """The number format, and whether FP8 was summed fast: 'fp8 fast'."""
        return f"{self.dtype_name} fast" if self.fast_accumulate else self.dtype_name

    @property
    def label(self) -> str:
        """What people call this cell: 'fp32 1024³', with what of its data, regime and load is not the usual.

        A peer copy is 'peer_copy 537 MB to 3', or 'with 3' if that one writes back at the same time.
        """
        unusual = [
            str(text) for name, usual in USUAL.items() if (text := getattr(self, name)) not in {None, usual}
        ]
        more = f" ({', '.join(unusual)})" if unusual else ""
        name = self.operation if self.is_transfer else self.dtype_label
        return " ".join(part for part in (name, self.size_text, self.peer_text) if part) + more

    @property
    def is_transfer(self) -> bool:
        """Whether it moves bytes and computes next to nothing: its rate is one of bytes."""
        return self.operation in STREAMS or self.operation == PEER_COPY

    @property
    def peer_text(self) -> str:
        """Which device it writes 'to', or exchanges data 'with'; nothing for what needs no other device."""
        return "" if self.peer is None else f"{'with' if self.ways == 2 else 'to'} {self.peer}"

    @property
    def size_text(self) -> str:
        """How large it is: the shape of a product, or the bytes of one array of a copy."""
        if self.elements is not None:
            return f"{format_si(self.elements * STORED_BYTES.get(self.input or '', 0.0), 'B', digits=3)}"
        return str(self.shape or "")

    @property
    def flop(self) -> int:
        """Operations of one call: 2·m·n·k for a matrix multiply (a multiply and an add each), else 0."""
        if self.operation != "matmul" or self.shape is None:
            return 0
        return 2 * self.shape.m * self.shape.n * self.shape.k

    @property
    def work(self) -> int:
        """What a call does, in the unit that its rate counts: operations, or bytes of what computes nothing."""
        return self.bytes_moved if self.is_transfer else self.flop

    @property
    def rate_unit(self) -> str | None:
        """The base unit of its rate: `flop_per_s`, `op_per_s` or `byte_per_s`; None if it has none."""
        if self.is_transfer:
            return "byte_per_s"
        return self.dtype.rate_unit if self.dtype else None

    @property
    def rate_label(self) -> str:
        """The unit of its rate as tables print it."""
        return "B/s" if self.is_transfer else self.dtype.rate_label if self.dtype else "OP/s"

    @property
    def figures(self) -> tuple[str, ...]:
        """The published figures that its rate is held against: the first that a chip's file gives counts.

        A copy to a peer in one direction has none: what is published of a link is the total of both.
        """
        if self.operation in STREAMS:
            return BANDWIDTH
        if self.operation == PEER_COPY:
            return LINK if self.ways == 2 else ()
        return self.dtype.figures if self.dtype else ()

    @property
    def bytes_moved(self) -> int:
        """Bytes of one call if each input is read once and the output written once, reads and writes together.

        Of a copy to a peer those that cross the link, each once, in as many directions as it has.
        """
        if self.is_transfer:
            arrays = (self.ways or 1) if self.operation == PEER_COPY else STREAMS[self.operation]
            return int(arrays * (self.elements or 0) * STORED_BYTES.get(self.input or "", 0.0))
        if self.operation != "matmul" or self.shape is None:
            return 0
        shape = self.shape
        inputs = (shape.m * shape.k + shape.k * shape.n) * STORED_BYTES[self.input or ""]
        return int(inputs + shape.m * shape.n * STORED_BYTES[self.output or ""])


def is_square(shape: Shape | None) -> bool:
    """Whether both operands and the output are square."""
    return shape is not None and shape.m == shape.n == shape.k


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The ordered, distinct cells of one run, resolved before anything is written; `model` is whose they are."""

    workload: str
    cells: tuple[Cell, ...]
    model: str | None = None

    def __post_init__(self) -> None:
        if not self.cells or len(set(self.cells)) != len(self.cells):
            message = "a plan has at least one cell and none twice"
            raise ValueError(message)
