"""What a rate or a step costs: energy, and money at the user's own price for an hour of a GPU."""

from typing import Final

PETA: Final = 1e15
_HOUR_S: Final = 3600.0
_MILLION: Final = 1e6


def usd_per_peta(usd_per_hour: float, per_s: float) -> float:
    """Return USD for 10^15 operations (a PFLOP of work) at `per_s` of them a second."""
    return usd_per_hour / _HOUR_S * PETA / per_s


def joules_per_peta(watts: float, per_s: float) -> float:
    """Return the joules of 10^15 operations at `per_s` of them a second."""
    return watts * PETA / per_s


def usd_per_million_tokens(usd_per_hour: float, seconds: float, tokens: int) -> float:
    """Return USD for a million tokens, where a step of so many `tokens` takes `seconds`."""
    return usd_per_hour / _HOUR_S * seconds / tokens * _MILLION


def joules_per_token(watts: float, seconds: float, tokens: int) -> float:
    """Return the joules of one token, where a step of so many `tokens` takes `seconds`."""
    return watts * seconds / tokens
