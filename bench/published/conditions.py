"""Conditions of rules: comparisons over named quantities, flags, all-of and any-of, read strictly from TOML."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from bench.errors import SpecError
from bench.published.source import LARGEST, SMALLEST, did_you_mean, written

Relation = Literal["at_least", "more_than", "at_most", "below", "between"]


class Named(NamedTuple):
    """How a quantity is called in texts, and its unit ('' for none)."""

    label: str
    unit: str


# What a rule may compare, in the units that the rules print. GB/s of `io` are both directions together.
QUANTITIES: Final = MappingProxyType(
    {
        "tpp": Named("TPP", ""),
        "performance_density": Named("performance density", ""),
        "io": Named("I/O", "GB/s"),
        "memory_bandwidth": Named("memory bandwidth", "GB/s"),
        "io_plus_memory_bandwidth": Named("I/O and memory bandwidth together", "GB/s"),
        "memory_bandwidth_density": Named("memory bandwidth density", "GB/s/mm2"),
        "transistors": Named("transistors", ""),
    }
)
# What a rule may ask that is no number: made or marketed for data centres; with HBM in the package; a memory
# stack that is sold without a processor.
FLAGS: Final = MappingProxyType(
    {
        "data_centre": "designed or marketed for data centres",
        "hbm": "HBM in its package",
        "memory_stack": "a memory stack sold without a processor",
    }
)
RELATIONS: Final[tuple[Relation, ...]] = ("at_least", "more_than", "at_most", "below", "between")


class Comparison(NamedTuple):
    """A quantity against a threshold. Of `between`, `most` is the upper end, and whether ends count is unknown."""

    quantity: str
    relation: Relation
    threshold: Fraction
    most: Fraction | None = None

    @property
    def thresholds(self) -> tuple[Fraction, ...]:
        """The values at which the answer changes."""
        return (self.threshold,) if self.most is None else (self.threshold, self.most)


class Flag(NamedTuple):
    """Whether something that is no number holds."""

    flag: str
    wanted: bool


class AllOf(NamedTuple):
    """Every one of `conditions` must be met."""

    conditions: tuple["Condition", ...]


class AnyOf(NamedTuple):
    """At least one of `conditions` must be met."""

    conditions: tuple["Condition", ...]


class MetBy(NamedTuple):
    """Another rule, whether or not it is in force: met with an outcome that is `outcome` or a part of it."""

    rule: str
    outcome: str | None


class NamedChip(NamedTuple):
    """The rule names these chips; with `or_equivalent` also others like them, without saying which."""

    chips: tuple[str, ...]
    or_equivalent: bool


class Unsettled(NamedTuple):
    """What the rule's text does not say, so that nobody knows whether it is met."""

    what: str


Condition = Comparison | Flag | AllOf | AnyOf | MetBy | NamedChip | Unsettled


def is_part_of(name: str, whole: str) -> bool:
    """Whether an outcome's name is `whole` or a paragraph of it: '3A090.b.1' is part of '3A090.b'."""
    return name == whole or name.startswith(f"{whole}.")


def walk(conditions: Iterable[Condition]) -> Iterator[Condition]:
    """Yield `conditions` and, depth first, all those inside them."""
    for condition in conditions:
        yield condition
        if isinstance(condition, AllOf | AnyOf):
            yield from walk(condition.conditions)


def read_condition(table: object, where: str) -> Condition:
    """Return a condition from its TOML table; raise SpecError naming `where` for anything that is none."""
    if not isinstance(table, Mapping):
        message = f"{where}: must be a table such as {{ quantity = …, at_least = … }}, not {written(table)}"
        raise SpecError(message)
    for key, read in _READERS.items():
        if key in table:
            return read(table, where)
    message = f"{where}: no condition; give one of {', '.join(_READERS)}"
    raise SpecError(message)


def _only(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            message = f"{where}: unknown key {key!r}{did_you_mean(key, known)}"
            raise SpecError(message)


def _comparison(table: Mapping[str, Any], where: str) -> Condition:
    _only(table, ("quantity", *RELATIONS), where)
    quantity = _text(table["quantity"], f"{where}: quantity")
    if quantity not in QUANTITIES:
        message = f"{where}: unknown quantity {quantity!r}{did_you_mean(quantity, QUANTITIES)}"
        raise SpecError(message)
    found = [_related(quantity, name, table[name], f"{where}: {name}") for name in RELATIONS if name in table]
    if not found:
        message = f"{where}: {quantity} is compared with nothing; give one of {', '.join(RELATIONS)}"
        raise SpecError(message)
    _check_range(table, where)
    return found[0] if len(found) == 1 else AllOf(tuple(found))


def _check_range(table: Mapping[str, Any], where: str) -> None:
    least = [table[name] for name in ("at_least", "more_than") if name in table]
    most = [table[name] for name in ("at_most", "below") if name in table]
    if least and most and max(least) >= min(most):
        message = f"{where}: nothing is both from {max(least)} on and up to {min(most)}; exchange or correct them"
        raise SpecError(message)


def _related(quantity: str, relation: Relation, value: object, where: str) -> Comparison:
    if relation != "between":
        return Comparison(quantity, relation, positive(value, where))
    if not isinstance(value, list) or len(value) != 2:
        message = f"{where} {written(value)} must be two numbers, [lower end, upper end]"
        raise SpecError(message)
    least, most = (positive(end, where) for end in value)
    if least >= most:
        message = f"{where} {value[0]}, {value[1]}: the lower end must come first"
        raise SpecError(message)
    return Comparison(quantity, relation, least, most)


def positive(value: object, where: str) -> Fraction:
    """Return `value` exactly; raise SpecError naming `where` if it is no finite number above 0."""
    number = not isinstance(value, bool) and isinstance(value, int | Decimal)
    if not number or not SMALLEST <= float(str(value)) <= LARGEST:
        bounds = f"{SMALLEST:g} to {LARGEST:g}"
        message = f"{where} {written(value)} must be a finite number above 0, {bounds}, without quotes"
        raise SpecError(message)
    return Fraction(str(value))


def _flag(table: Mapping[str, Any], where: str) -> Condition:
    _only(table, ("flag", "is"), where)
    flag = _text(table["flag"], f"{where}: flag")
    if flag not in FLAGS:
        message = f"{where}: unknown flag {flag!r}{did_you_mean(flag, FLAGS)}"
        raise SpecError(message)
    if not isinstance(table.get("is"), bool):
        message = f"{where}: is must be true or false"
        raise SpecError(message)
    return Flag(flag, table["is"])


def _several(table: Mapping[str, Any], where: str) -> Condition:
    ((key, entries),) = table.items() if len(table) == 1 else [(next(iter(table)), None)]
    if not isinstance(entries, list) or not entries:
        message = f"{where}: all and any stand alone, each with a list of conditions that is not empty"
        raise SpecError(message)
    parts = tuple(read_condition(entry, f"{where}: {key}[{index}]") for index, entry in enumerate(entries))
    return AllOf(parts) if key == "all" else AnyOf(parts)


def _met_by(table: Mapping[str, Any], where: str) -> Condition:
    _only(table, ("rule", "outcome"), where)
    outcome = _text(table["outcome"], f"{where}: outcome") if "outcome" in table else None
    return MetBy(_text(table["rule"], f"{where}: rule"), outcome)


def _named(table: Mapping[str, Any], where: str) -> Condition:
    _only(table, ("chips", "or_equivalent"), where)
    chips = table["chips"]
    if not isinstance(chips, list) or not chips:
        message = f"{where}: chips must be a list of chip ids that is not empty"
        raise SpecError(message)
    equivalent = table.get("or_equivalent", False)
    if not isinstance(equivalent, bool):
        message = f"{where}: or_equivalent must be true or false"
        raise SpecError(message)
    return NamedChip(tuple(_text(chip, f"{where}: chips") for chip in chips), equivalent)


def _unsettled(table: Mapping[str, Any], where: str) -> Condition:
    _only(table, ("unsettled",), where)
    return Unsettled(_text(table["unsettled"], f"{where}: unsettled"))


def _text(value: object, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    message = f"{where} {written(value)} must be a text that is not empty, in quotes"
    raise SpecError(message)


_READERS: Final = MappingProxyType(
    {"quantity": _comparison, "flag": _flag, "all": _several, "any": _several, "rule": _met_by, "chips": _named}
    | {"unsettled": _unsettled}
)
