"""Who is who in a fleet: devices by their place, and machines by a name that tells them apart."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from bench.devices.base import Device

_KEY: Final = 8  # digits by which a machine is named, where they tell it apart


class Unit(NamedTuple):
    """One device: `number` of machine `host`. `product` is the id of its `chip`, or else its name.

    `shared`: another device had the same place, as one that was replaced.
    """

    key: str
    product: str
    chip: str | None
    name: str
    kind: str
    host: str | None
    number: int | None
    shared: bool = False

    @property
    def label(self) -> str:
        """How a sentence names it: 'GPU 3 of 5f0c1a2b', or by its key, or by both where that takes it."""
        if self.number is None:
            return f"device {self.key}"
        place = f"{'GPU' if self.kind == 'gpu' else 'device'} {self.number}"
        if self.host is None:
            return f"{place} ({self.key})"
        return f"{place} of {self.host}{f' ({self.key})' if self.shared else ''}"


def unit_of(device: Device, hosts: Mapping[str, str]) -> Unit:
    """Return a device, its machine called as `hosts` has it."""
    return Unit(
        key=str(device.key),
        product=device.chip or device.name,
        chip=device.chip,
        name=device.name,
        kind=device.kind,
        host=hosts.get(machine_of(device)),
        number=device.index,
    )


def host_names(devices: Iterable[Device]) -> dict[str, str]:
    """Return how each machine is called: by its name if recorded, else by its key, shortened if that tells it.

    Where several have one name, as 'localhost', the key stands beside it.
    """
    machines: dict[str, str | None] = {}
    for device in devices:
        key = machine_of(device)
        machines[key] = device.host or machines.get(key)
    machines.pop("", None)
    names = Counter(machines.values())
    ambiguous = [key for key, host in machines.items() if host is None or names[host] > 1]
    digits = _KEY if len({key[:_KEY] for key in ambiguous}) == len(ambiguous) else None
    return {
        key: host if host and (names[host] == 1 or key == host) else _by_key(host, key[:digits])
        for key, host in machines.items()
    }


def _by_key(host: str | None, key: str) -> str:
    return f"{host} ({key})" if host else key


def machine_of(device: Device) -> str:
    """Return what tells a device's machine, as not every record has its name; nothing if that is not recorded."""
    return device.host_key or device.host or ""
