"""Samples of which only so many are held, however many come: neighbours become the sample of a longer block."""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from bench.devices.base import Caveat
from bench.measure.measurement import Measurement, Samples

MOST: Final = 1 << 14  # samples of one cell that are held: of blocks of 0.1 s those of 27 minutes


class Condenser:
    """Samples in the order in which they were taken, in memory that does not grow with their number.

    Up to `most`, an even number, each is held as it came. Each time that so many are held, every two neighbours
    become their mean, which is the sample of a block twice as long; `together` is how many samples one that is
    held is the mean of, `count` how many came. So a cell of `most` blocks or more has between half as many samples
    and as many, each of 2, 4, 8, … blocks. What is left at the end and is no full group, less than one part in
    `most` / 2, is left out. What comes out depends on the samples alone, not on the parts in which they came. With
    `most` None all are held.
    """

    def __init__(self, most: int | None = MOST) -> None:
        self.together = 1
        self.count = 0
        self._most = math.inf if most is None else most
        self._held: dict[str, list[float]] = {}
        self._pending: dict[str, list[float]] = {}

    def add(self, samples: Samples) -> None:
        """Take samples in; a column that they or those before them lack is left out."""
        if not samples.seconds_per_call:
            return
        columns = samples.columns()
        names = self._held if self.count else columns
        self._held = {name: self._held.get(name, []) for name in names if name in columns}
        self._pending = {name: [*self._pending.get(name, []), *columns[name]] for name in self._held}
        self.count += len(samples.seconds_per_call)
        while groups := self._full_groups():
            self._take(groups)

    def _full_groups(self) -> int:
        """Return how many of the groups that are pending still fit."""
        room = self._most - len(self._held["seconds_per_call"])
        return int(min(room, len(self._pending["seconds_per_call"]) // self.together))

    def _take(self, groups: int) -> None:
        """Hold so many more groups, and halve what is held if that is as much as may be."""
        count = groups * self.together
        for name, held in self._held.items():
            held.extend(_means(self._pending[name][:count], self.together))
            del self._pending[name][:count]
        if len(self._held["seconds_per_call"]) >= self._most:
            self._held = {name: _means(held, 2) for name, held in self._held.items()}
            self.together *= 2

    @property
    def samples(self) -> Samples:
        """What is held."""
        return Samples(**{name: tuple(column) for name, column in self._held.items()})

    def whole(self, last: Measurement) -> Measurement:
        """Return the measurement that `last` ends, with its samples after those that were taken in, condensed.

        One that failed at its end, as its product was checked, has no samples to show.
        """
        if last.stop == "failed":
            return last
        self.add(last.samples)
        calls = last.calls_per_block * self.together
        return msgspec.structs.replace(last, samples=self.samples, calls_per_block=calls)

    def caveats(self) -> tuple[Caveat, ...]:
        """Return that the samples that are held are means of several, if they are."""
        if self.together == 1:
            return ()
        values: dict[str, float | str] = {"blocks": float(self.count), "each": float(self.together)}
        return (Caveat(code="taken_together", values=values),)


def joined(parts: Iterable[Samples]) -> Samples:
    """Return samples that came in parts as one; a column that one of them lacks is left out."""
    condenser = Condenser(most=None)
    for part in parts:
        condenser.add(part)
    return condenser.samples


def _means(values: list[float], size: int) -> list[float]:
    """Return the means of consecutive groups of `size`, of which there is a whole number."""
    if size == 1:
        return values
    return [math.fsum(values[start : start + size]) / size for start in range(0, len(values), size)]
