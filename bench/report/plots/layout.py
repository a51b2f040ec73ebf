"""Where the words of a picture go: labels apart from each other, long names shortened. It draws nothing."""

from collections.abc import Sequence
from statistics import fmean
from typing import Final

_CUT: Final = "…"


def spread(wanted: Sequence[float], gap: float, lowest: float, highest: float) -> list[float]:
    """Return places at least `gap` apart between `lowest` and `highest`, each as near as can be to the wanted one.

    They keep the order of `wanted`, which may hold equal ones: of those the first comes lowest. Between the ends
    there must be room for all.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    groups: list[list[float]] = []

    def start(group: Sequence[float]) -> float:
        """Return where the lowest of some neighbours lies, which stand as near as they may."""
        height = gap * (len(group) - 1)
        return max(lowest, min(fmean(group) - height / 2, highest - height))

    for index in order:
        groups.append([wanted[index]])
        while len(groups) > 1 and start(groups[-2]) + gap * len(groups[-2]) > start(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    places = [start(group) + gap * rank for group in groups for rank in range(len(group))]
    return [place for _, place in sorted(zip(order, places, strict=True))]


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters: of a longer one the beginning and the end."""
    if len(text) <= most:
        return text
    kept = most - len(_CUT)
    return f"{text[: kept - kept // 2]}{_CUT}{text[len(text) - kept // 2 :]}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a sentence lists them: 'a', 'a and b', 'a, b and c'."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
