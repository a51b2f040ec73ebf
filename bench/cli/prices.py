"""The option --price: what an hour of a chip costs, as the user says it."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bench.cli.options import say

if TYPE_CHECKING:
    from bench.published.chips import Catalogue

_F = TypeVar("_F", bound=Callable[..., Any])
_NUMBER: Final = r"\d{1,9}(\.\d{1,9})?|\.\d{1,9}"


def _priced(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Return USD an hour by the name of the chip as it was given."""
    found: dict[str, float] = {}
    for value in values:
        name, separator, price = value.partition("=")
        if not separator or not name.strip():
            message = f"{value!r} is no CHIP=USD: a chip, and what an hour of it costs, such as 2.99"
            raise click.BadParameter(message)
        if not re.fullmatch(_NUMBER, price, re.ASCII) or not float(price) > 0:
            message = f"{value!r}: {price!r} is no plain decimal number above 0, in USD for an hour, such as 2.99"
            raise click.BadParameter(message)
        if name in found:
            message = f"{value!r}: {name} has a price already; give one"
            raise click.BadParameter(message)
        found[name] = float(price)
    return found


def price_option(command: _F) -> _F:
    """Give a command the option --price."""
    return click.option(
        "--price",
        "prices",
        multiple=True,
        callback=_priced,
        metavar="CHIP=USD",
        help="What an hour of this chip costs you; adds USD. Repeatable.",
    )(command)


def by_chip(prices: Mapping[str, float], catalogue: "Catalogue", used: Iterable[str]) -> dict[str, float]:
    """Return the prices by chip id, and say which of them are of none of the chips `used`.

    Raises InvalidRequest for a chip that is not known, or that two names stand for.
    """
    from bench.errors import InvalidRequest  # noqa: PLC0415 - `--help` must not load it

    found: dict[str, float] = {}
    wanted = {*used}
    for name, price in prices.items():
        try:
            chip = name if name in wanted else catalogue.resolve(name).chip.id
        except InvalidRequest as error:
            message = f"--price {name}={price:g}: {error}"
            raise InvalidRequest(message) from error
        if chip in found:
            message = f"--price {name}={price:g}: {chip} has a price already; give one"
            raise InvalidRequest(message)
        found[chip] = price
        if chip not in wanted:
            say(f"--price {name}={price:g}: {chip} is not in this answer")
    return found
