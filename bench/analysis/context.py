"""Whether two sides were measured in surroundings that can be compared, by name: what blocks, what is shown."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from bench.measure.policy import Policy
from bench.records.record import Header

# What sets how fast the very same code runs on the very same device: a ratio over a difference in these answers
# another question. Versions are shown only: what a driver or library changes is often what is asked for.
SETTINGS: Final = (
    "power_limit_w",
    "application_clock_hz",
    "ecc",
    "mig",
    "blas_threads",
    "blas_architecture",
    "cores",
)
# Settings that differ by nature between two products: each at its own default is as good as equal.
_OF_PRODUCT: Final = {
    "power_limit_w": "power_limit",
    "application_clock_hz": "application_clocks",
    "ecc": "ecc_off",
}
_OF_MACHINE: Final = ("blas_threads", "blas_architecture", "cores")
# Variables that choose a device, or whose whole effect is in a setting that is compared anyway.
_HARMLESS: Final = (
    "CUDA_VISIBLE_DEVICES", "BLIS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
# Warnings of a machine's state that a setting does not tell.
_STATES: Final = ("busy", "gpu_processes", "hot", "pcie")
_OF_POLICY: Final = ("seed", "block_s", "flat", "warm_up_least_s", "search_passes", "finalists", "final_rounds")
_ORIGIN: Final = "origin"  # nothing can be compared over this one
_UNSET: Final = "not set"


class Difference(NamedTuple):
    """Something that is not the same on both sides; `blocking` if no verdict may be drawn over it."""

    name: str
    a: str
    b: str
    blocking: bool


class Context(NamedTuple):
    """What of one record's header bears on comparing it: named values, and the product that they are of."""

    product: str
    key: str | None
    settings: Mapping[str, str]
    variables: Mapping[str, str]
    others: Mapping[str, str]
    states: frozenset[str]
    origin: str


def context_of(header: Header) -> Context:
    """Return the surroundings of a record."""
    environment, device = header.environment, header.device
    codes = frozenset(caveat.code for caveat in header.warnings)
    return Context(
        product=device.chip or device.name,
        key=device.key,
        settings=environment.settings,
        variables=environment.flagged,
        others={**environment.versions, "chipbench": header.tool, "policy": _policy(header.policy)},
        states=codes,
        origin=header.origin,
    )


def steered_by(context: Context) -> list[str]:
    """Return the variables that were set and change what the libraries compute, or how."""
    return [name for name in context.variables if name not in _HARMLESS]


def _policy(policy: Policy) -> str:
    """Return what of a policy may move a rate; how long a cell may take depends on how many there were."""
    return ", ".join(f"{name} {getattr(policy, name)}" for name in _OF_POLICY)


def differences(a: Sequence[Context], b: Sequence[Context], *, allowed: Collection[str] = ()) -> list[Difference]:
    """Return what is not the same in all records of both sides, blocking ones first.

    `allowed` are the names of what blocks otherwise, but is what the comparison is about.
    """
    found = [*_device(a, b), *_settings(a, b), *_variables(a, b), *_others(a, b)]
    eased = [one._replace(blocking=one.blocking and one.name not in {*allowed} - {_ORIGIN}) for one in found]
    return sorted(eased, key=lambda one: not one.blocking)


def _device(a: Sequence[Context], b: Sequence[Context]) -> Iterable[Difference]:
    simulated = [{one.origin == "simulated" for one in side} for side in (a, b)]
    if simulated[0] != simulated[1]:
        yield Difference(_ORIGIN, _texts(one.origin for one in a), _texts(one.origin for one in b), blocking=True)
    yield from _compared("product", [one.product for one in a], [one.product for one in b], blocking=False)
    if not _several_products(a, b):
        keys = [one.key or "unknown" for one in (*a, *b)]
        if len(set(keys)) > 1:
            yield Difference("unit", keys[0], keys[-1], blocking=False)


def _several_products(a: Sequence[Context], b: Sequence[Context]) -> bool:
    return len({one.product for one in (*a, *b)}) > 1


def _settings(a: Sequence[Context], b: Sequence[Context]) -> Iterable[Difference]:
    several = _several_products(a, b)
    for name in dict.fromkeys((*SETTINGS, *(name for one in (*a, *b) for name in one.settings))):
        texts = [[_setting(one, name, several=several) for one in side] for side in (a, b)]
        yield from _compared(name, *texts, blocking=name in SETTINGS and not (several and name in _OF_MACHINE))


def _setting(context: Context, name: str, *, several: bool) -> str:
    """Return a setting as it is compared: between products, one that is at its default is only that."""
    value = context.settings.get(name)
    if value is None:
        return "default" if several and name in _OF_PRODUCT else _UNSET
    return "default" if several and name in _OF_PRODUCT and _OF_PRODUCT[name] not in context.states else value


def _variables(a: Sequence[Context], b: Sequence[Context]) -> Iterable[Difference]:
    for name in sorted({name for one in (*a, *b) for name in one.variables}):
        texts = [[one.variables.get(name, _UNSET) for one in side] for side in (a, b)]
        yield from _compared(name, *texts, blocking=name not in _HARMLESS)


def _others(a: Sequence[Context], b: Sequence[Context]) -> Iterable[Difference]:
    for name in dict.fromkeys(name for one in (*a, *b) for name in one.others):
        texts = [[one.others.get(name, _UNSET) for one in side] for side in (a, b)]
        yield from _compared(name, *texts, blocking=False)
    for state in _STATES:
        texts = [["yes" if state in one.states else "no" for one in side] for side in (a, b)]
        yield from _compared(state, *texts, blocking=False)


def _compared(name: str, a: Sequence[str], b: Sequence[str], *, blocking: bool) -> Iterable[Difference]:
    """Yield the difference unless every record of both sides has the same; one that mixes differs from itself."""
    if len({*a, *b}) > 1:
        yield Difference(name, _texts(a), _texts(b), blocking)


def _texts(values: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(values))
