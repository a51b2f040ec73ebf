"""What the rules of export control look at in a chip, or in a design that does not exist: exact numbers.

Every quantity is a `Fraction` of the decimal text that the sheet prints, so that a chip that lies on a threshold
is on it. Formulas: 15 CFR 774, Supplement 1, ECCN 3A090, technical notes; the readings that the text leaves open
are said at each function.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from bench.published.chips import Chip, DesignedFor
from bench.published.figures import FIGURES, Figure
from bench.units import UNITS

TERA: Final = 10**12
GIGA: Final = 10**9
# The formats of which a chip file must say something, each with the figures that may say it. INT4 is none of
# them: where it is published it is twice INT8, which makes the same processing performance.
FORMATS: Final = MappingProxyType(
    {
        "fp64": ("fp64", "fp64_tensor"), "fp32": ("fp32",), "tf32": ("tf32",), "fp16": ("fp16", "fp16_acc16"),
        "bf16": ("bf16",), "fp8": ("fp8", "fp8_acc16"), "int8": ("int8",), "fp4": ("fp4",),
    }
)  # fmt: skip
_PCIE_LANES: Final = 16
_PCIE_DOUBLES: Final = 3  # the generation from which on the rate is a power of two


class Span(NamedTuple):
    """A quantity: `low`, or at least `low` where `high` is None as the figures `missing` are unpublished."""

    low: Fraction
    high: Fraction | None
    missing: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the quantity has one value."""
        return self.high is not None

    def over(self, divisor: Fraction) -> "Span":
        """Return the span divided by a positive number."""
        return Span(self.low / divisor, None if self.high is None else self.high / divisor, self.missing)

    def plus(self, other: "Span") -> "Span":
        """Return the span of the sum."""
        high = None if self.high is None or other.high is None else self.high + other.high
        return Span(self.low + other.low, high, (*self.missing, *other.missing))


def exactly(value: Fraction) -> Span:
    """Return the span of one value."""
    return Span(value, value)


def unpublished(*missing: str) -> Span:
    """Return the span of a quantity of which nothing is known."""
    return Span(Fraction(0), None, missing)


class Rate(NamedTuple):
    """A dense rate in tera-operations a second, a multiply-accumulate counting as two, as sheets count it.

    `name` is the figure's name, or the bit length for a design; `figure` is where it was published.
    """

    name: str
    bits: int
    tops: Fraction
    figure: Figure | None = None

    @property
    def tpp(self) -> Fraction:
        """Total processing performance by this rate: 2 x MacTOPS x bit length, and 2 x MacTOPS is `tops`."""
        return self.tops * self.bits


class Reading(NamedTuple):
    """One way to read what counts as I/O, in GB/s, both directions together."""

    label: str
    span: Span


class Design(NamedTuple):
    """The quantities of a chip that rules compare. `rates` are in falling order of the performance they make.

    `tpp` is a lower bound where a format's rate was not published. `density` None: there is no applicable die
    area, so no performance density. `io` holds one or two readings. `data_centre` holds True, False or both,
    when no maker's page decides. Bandwidths are in GB/s, `die_area` in mm2. None: the chip has no such thing.
    """

    label: str
    id: str | None
    rates: tuple[Rate, ...]
    tpp: Span
    die_area: Span | None
    density: Span | None
    io: tuple[Reading, ...]
    memory_bandwidth: Span | None
    transistors: Span | None
    hbm: bool | None
    data_centre: tuple[bool, ...]

    def quantities(self, io: Span) -> Mapping[str, Span | None]:
        """Return every quantity that a rule may name, under one reading of I/O; None: there is no such thing."""
        return {
            "tpp": self.tpp,
            "performance_density": self.density,
            "io": io,
            "memory_bandwidth": self.memory_bandwidth,
            "io_plus_memory_bandwidth": io if self.memory_bandwidth is None else self.memory_bandwidth.plus(io),
            "memory_bandwidth_density": unpublished("package area"),
            "transistors": self.transistors,
        }


def design_of(chip: Chip, full: Chip | None = None) -> Design:
    """Return a chip's quantities, each from the figure that its file puts first.

    `full` is the part that it was cut from: a format that nobody published for the cut part leaves its processing
    performance exact if even the whole part's rate would not raise it.
    """
    rates = _rates(chip)
    best = rates[0].tpp if rates else Fraction(0)
    open_formats = _open_formats(chip)
    settled = full is not None and bool(rates) and all(_bounded(full, name, best) for name in open_formats)
    tpp = exactly(best) if rates and (settled or not open_formats) else Span(best, None, open_formats)
    area = _span(chip, "die_area")
    return Design(
        label=chip.id,
        id=chip.id,
        rates=rates,
        tpp=tpp,
        die_area=area,
        density=_density(tpp, area),
        io=_readings(_span(chip, "nvlink"), _pcie(chip)),
        memory_bandwidth=_span(chip, "memory_bandwidth"),
        transistors=_span(chip, "transistors"),
        hbm=_has_hbm(chip),
        data_centre=_markets(chip.designed_for),
    )


def imagined(  # noqa: PLR0913 - one keyword a quantity, as a data sheet has them
    *,
    tops: Mapping[int, Fraction],
    die_area: Fraction | None,
    nvlink: Fraction | None,
    pcie: Fraction | None,
    io: Fraction | None,
    memory_bandwidth: Fraction | None,
    consumer: bool,
) -> Design:
    """Return a design that does not exist from its dense TOPS per bit length; what is given is taken as complete.

    `die_area` in mm2; `nvlink` and `pcie`, or `io` for their total, in GB/s both ways; `memory_bandwidth` in GB/s.
    """
    rates = _sorted(Rate(f"{bits} bit", bits, rate) for bits, rate in tops.items())
    tpp = exactly(rates[0].tpp)
    area = unpublished("--die") if die_area is None else exactly(die_area)
    if io is not None:
        readings: tuple[Reading, ...] = (Reading("as given", exactly(io)),)
    elif nvlink is None and pcie is None:
        readings = (Reading("not given", unpublished("--nvlink, --pcie or --io")),)
    else:
        readings = _readings(*(None if link is None else exactly(link) for link in (nvlink, pcie)))
    return Design(
        label="this design",
        id=None,
        rates=rates,
        tpp=tpp,
        die_area=area,
        density=_density(tpp, area),
        io=readings,
        memory_bandwidth=unpublished("--dram") if memory_bandwidth is None else exactly(memory_bandwidth),
        transistors=unpublished("transistors"),
        hbm=None,
        data_centre=(not consumer,),
    )


def unpublished_rates(chip: Chip, full: Chip) -> tuple[Rate, ...]:
    """Return the whole part's rates that nobody published for the cut one, though others of the format were.

    Only those that would raise the cut part's processing performance: a format counts by what is published of it.
    """
    best = max((rate.tpp for rate in _rates(chip)), default=Fraction(0))
    names = {name for names in FORMATS.values() if _settled(chip, names) for name in names}
    unknown = {name for name in names if name in chip.figures and chip.figures[name].status == "unknown"}
    return tuple(rate for rate in _rates(full) if rate.name in unknown and rate.tpp > best)


def value_of(figure: Figure, value: object) -> Fraction | None:
    """Return a figure's value in base units, exactly; None if it is no number."""
    if not isinstance(value, Decimal) or figure.unit is None:
        return None
    return Fraction(value) * Fraction(UNITS[figure.unit].factor)


def _rates(chip: Chip) -> tuple[Rate, ...]:
    """Return the published dense rates; sparse ones and those per clock count for nothing."""
    found = []
    for name, figure in chip.figures.items():
        bits, value = FIGURES[name].bits, value_of(figure, figure.value)
        if bits is not None and value is not None:
            found.append(Rate(name, bits, value / TERA, figure))
    return _sorted(found)


def _sorted(rates: Iterable[Rate]) -> tuple[Rate, ...]:
    """Sort by falling performance; of equals the shortest operands first, then in the order of figures."""
    order = {name: index for index, name in enumerate(FIGURES)}
    return tuple(sorted(rates, key=lambda rate: (-rate.tpp, rate.bits, order.get(rate.name, 0))))


def _open_formats(chip: Chip) -> tuple[str, ...]:
    """Return the formats for which no rate was published and that the chip is not said to lack."""
    return tuple(name for name, figures in FORMATS.items() if not _settled(chip, figures))


def _settled(chip: Chip, names: Sequence[str]) -> bool:
    figures = [chip.figures[name] for name in names if name in chip.figures]
    if any(figure.status == "known" for figure in figures):
        return True
    return bool(figures) and all(figure.status == "inapplicable" for figure in figures)


def _bounded(full: Chip, name: str, best: Fraction) -> bool:
    """Whether the whole part, with all its rates of this format published, makes no more than `best` with it."""
    rates = [rate for rate in _rates(full) if rate.name in FORMATS[name]]
    unknown = any(f.status == "unknown" for figure in FORMATS[name] if (f := full.figures.get(figure)) is not None)
    lacks = _settled(full, FORMATS[name]) and not rates
    return lacks or (bool(rates) and not unknown and all(rate.tpp <= best for rate in rates))


def _span(chip: Chip, name: str) -> Span | None:
    """Return a figure in mm2, GB/s or as a count; None if the chip has no such thing."""
    figure = chip.figures.get(name)
    if figure is not None and figure.status == "inapplicable":
        return None
    value = None if figure is None else value_of(figure, figure.value)
    if value is None:
        return unpublished(name)
    return exactly(value / GIGA if FIGURES[name].base == "byte_per_s" else value)


def _density(tpp: Span, area: Span | None) -> Span | None:
    """Return TPP over the applicable die area: logic dies made on a non-planar node, memory stacks excluded."""
    if area is None:
        return None
    if not area.exact:
        return Span(Fraction(0), None, (*tpp.missing, *area.missing))
    return tpp.over(area.low)


def _pcie(chip: Chip) -> Span | None:
    """Return both directions of a 16-lane slot in GB/s at the line rate, before encoding, as sheets print it.

    8 GT/s a lane in generation 3, doubling with each: 128 GB/s for generation 5. 1 and 2 had 2.5 and 5 GT/s.
    """
    span = _span(chip, "pcie")
    if span is None or not span.exact:
        return span
    generation = int(span.low)
    gigatransfers = Fraction(2) ** generation if generation >= _PCIE_DOUBLES else Fraction(5, 4) * 2**generation
    return exactly(2 * gigatransfers * _PCIE_LANES / 8)


def _readings(nvlink: Span | None, pcie: Span | None) -> tuple[Reading, ...]:
    """Return the readings of I/O: all links, as the text of 2022 has it, and NVLink alone, as practice has it."""
    nothing = exactly(Fraction(0))
    alone, both = nvlink or nothing, (nvlink or nothing).plus(pcie or nothing)
    if nvlink is None or pcie in (None, nothing):
        return (Reading("PCIe" if nvlink is None else "NVLink", both),)
    return (Reading("NVLink and PCIe", both), Reading("NVLink alone", alone))


def _has_hbm(chip: Chip) -> bool | None:
    figure = chip.figures.get("memory_type")
    return str(figure.value).upper().startswith("HBM") if figure is not None and figure.value is not None else None


def _markets(designed_for: DesignedFor) -> tuple[bool, ...]:
    """Return whether it is for data centres: both, for a workstation card or where no maker's page says it."""
    if designed_for.source is None or designed_for.value == "workstation":
        return (True, False)
    return (designed_for.value == "data-centre",)
