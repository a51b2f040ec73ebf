"""How well a text can be read on its ground, as WCAG 2 defines it."""

from collections.abc import Sequence


def luminance(colour: Sequence[float]) -> float:
    """Return the relative luminance of red, green and blue, each from 0 to 1."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how much the lighter of two colours is above the darker one: 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
