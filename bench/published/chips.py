"""Chips: one TOML file each, found by id or alias, with every published figure and its source."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from bench.errors import InvalidRequest, SpecError
from bench.published.figures import Figure, read_figure
from bench.published.source import (
    Source,
    convert,
    did_you_mean,
    named_source,
    parse_toml,
    read_sources,
    read_text,
    read_toml,
)
from bench.units import MOST

Market = Literal["data-centre", "workstation", "consumer"]


class Identity(NamedTuple):
    """What tells the product apart on a machine: PCI device ids (hex), streaming multiprocessors, memory."""

    pci_device_ids: tuple[str, ...]
    sm_count: int | None
    memory_gb: float | None
    source: Source | None
    note: str | None


class DesignedFor(NamedTuple):
    """The market that the maker names; `source` None means that no maker's page says so."""

    value: Market
    source: Source | None
    note: str | None


class Chip(NamedTuple):
    """A product as sold: die, form factor and memory. `cut_from` is the id of its full-strength part."""

    id: str
    name: str
    cut_from: str | None
    designed_for: DesignedFor
    identity: Identity
    sources: Mapping[str, Source]
    figures: Mapping[str, Figure]
    path: Path

    def first_known(self, names: Sequence[str]) -> Figure | None:
        """Return the first of the figures `names` whose value was published, or None."""
        found = (self.figures.get(name) for name in names)
        return next((figure for figure in found if figure is not None and figure.value is not None), None)

    def number(self, name: str) -> float | None:
        """Return the figure `name` in base units; None if it was not published, or is no number."""
        figure = self.first_known((name,))
        value = None if figure is None else figure.in_base_units(figure.value)
        return float(value) if isinstance(value, int | float) else None


class _RawIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pci_device_ids: tuple[str, ...] = ()
    sm_count: int | None = None
    memory_gb: int | Decimal | None = None
    source: str | None = None
    note: str | None = None


class _RawDesignedFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    value: Market
    source: str | None = None
    note: str | None = None


class _RawChip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    designed_for: dict[str, Any]
    identity: dict[str, Any]
    sources: dict[str, Any]
    figures: dict[str, Any]
    cut_from: str | None = None


class _RawAliases(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    aliases: dict[str, str] = {}
    context: dict[str, list[str]] = {}


def read_chip(path: Path) -> Chip:
    """Return the chip in one TOML file; raise SpecError naming file, table and field if it breaks a rule."""
    return _chip_in(read_text(path), path)


@lru_cache(maxsize=512)
def _chip_in(text: str, path: Path) -> Chip:
    """Return the chip in a file's text; a text that was read before is not parsed again."""
    raw = convert(parse_toml(text, path), _RawChip, str(path))
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,99}", raw.id):
        which = "lower-case letters, digits, '-' and '.', as people will type it, 100 at most"
        message = f"{path}: id {raw.id!r} must be {which}"
        raise SpecError(message)
    if raw.id != path.stem:
        twin = path.with_name(f"{raw.id}.toml")
        what = f"duplicate id: {twin.name} has it too" if twin.exists() else "the file must be named after its id"
        message = f"{path}: id {raw.id!r} does not match the file name; {what}"
        raise SpecError(message)
    sources = read_sources(raw.sources, path)
    figures = {
        name: read_figure(name, table, sources, f"{path}: [figures.{name}]")
        for name, table in _flattened(raw.figures)
    }
    _check_sparse(path, figures)
    return Chip(
        id=raw.id,
        name=raw.name,
        cut_from=raw.cut_from,
        designed_for=_designed_for(raw, sources, path),
        identity=_identity(raw, sources, path),
        sources=sources,
        figures=figures,
        path=path,
    )


def _flattened(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, table in tables.items():
        if isinstance(table, dict) and table and all(isinstance(inner, dict) for inner in table.values()):
            yield from ((f"{name}.{inner_name}", inner) for inner_name, inner in table.items())
        else:
            yield name, table


def _check_sparse(path: Path, figures: Mapping[str, Figure]) -> None:
    for name, sparse in figures.items():
        dense = figures.get(name.removesuffix("_sparse"))
        if dense is None or dense is sparse or not sparse.value or not dense.value:
            continue
        ratio = Decimal(str(sparse.in_base_units(sparse.value))) / Decimal(str(dense.in_base_units(dense.value)))
        if abs(ratio - 2) > Decimal("0.01"):
            message = f"{path}: [figures.{name}]: value {sparse.value} is {ratio:.3g} × the dense "
            message += f"{dense.name} {dense.value}; sparse rates are twice the dense ones, so one is mislabelled"
            raise SpecError(message)


def _designed_for(raw: _RawChip, sources: Mapping[str, Source], path: Path) -> DesignedFor:
    where = f"{path}: [designed_for]"
    table = convert(raw.designed_for, _RawDesignedFor, where)
    return DesignedFor(
        table.value, None if table.source is None else named_source(table.source, sources, where), table.note
    )


def _identity(raw: _RawChip, sources: Mapping[str, Source], path: Path) -> Identity:
    where = f"{path}: [identity]"
    table = convert(raw.identity, _RawIdentity, where)
    for device_id in table.pci_device_ids:
        if len(device_id) != 4 or any(letter not in "0123456789abcdef" for letter in device_id):
            message = f"{where}: pci_device_ids {device_id!r} must be four lower-case hex digits"
            raise SpecError(message)
    for field, most in (("sm_count", MOST["sm"]), ("memory_gb", MOST["byte"] / 1e9)):
        value = getattr(table, field)
        if value is not None and not 0 < float(Decimal(value)) <= most:
            message = f"{where}: {field} {value} must be finite and above 0, at most {most:g}"
            raise SpecError(message)
    return Identity(
        table.pci_device_ids,
        table.sm_count,
        None if table.memory_gb is None else float(table.memory_gb),
        None if table.source is None else named_source(table.source, sources, where),
        table.note,
    )


class Resolved(NamedTuple):
    """A chip, and the alias that it was asked for by (None if by its own id)."""

    chip: Chip
    alias: str | None


class Catalogue:
    """The chips in some specs folders, each read when first asked for; later folders override earlier."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        self.overridden: list[str] = []
        self.aliases: dict[str, str] = {}
        self._alias_files: dict[str, Path] = {}
        self.context: tuple[str, ...] = ()
        self.in_use: tuple[str, ...] = ()
        self._chips: dict[str, Chip] = {}
        for folder in folders:
            self._add(folder)

    def _add(self, folder: Path) -> None:
        for path in sorted((folder / "chips").glob("*.toml")):
            if path.stem in self._paths:
                self.overridden.append(path.stem)
            self._paths[path.stem] = path
        path = folder / "aliases.toml"
        if path.exists():
            raw = convert(read_toml(path), _RawAliases, str(path))
            self.aliases |= {alias.lower(): chip_id for alias, chip_id in raw.aliases.items()}
            self._alias_files |= dict.fromkeys((alias.lower() for alias in raw.aliases), path)
            self.context = tuple(raw.context.get("chips", self.context))
            self.in_use = tuple(raw.context.get("in_use", self.in_use))

    @property
    def ids(self) -> list[str]:
        """All chip ids, sorted."""
        return sorted(self._paths)

    def chip(self, chip_id: str) -> Chip:
        """Return the chip with this id. Raises InvalidRequest, with the nearest ids, if there is none."""
        if chip_id not in self._paths:
            hint = did_you_mean(chip_id, [*self._paths, *self.aliases], otherwise="'chipbench chips' lists all")
            message = f"unknown chip {chip_id!r}{hint}"
            raise InvalidRequest(message)
        if chip_id not in self._chips:
            chip = read_chip(self._paths[chip_id])
            self.check(chip)
            self._chips[chip_id] = chip
        return self._chips[chip_id]

    def known(self, chip_id: str | None) -> Chip | None:
        """Return the chip with this id, as a record may have it; None if there is none here."""
        return self.chip(chip_id) if chip_id in self._paths else None

    def check(self, chip: Chip) -> None:
        """Raise SpecError if what `chip` was cut from is no chip here."""
        if chip.cut_from is not None and chip.cut_from not in self._paths:
            hint = did_you_mean(chip.cut_from, self._paths, otherwise="'chipbench chips' lists all")
            message = f"{chip.path}: cut_from {chip.cut_from!r} is no chip here{hint}"
            raise SpecError(message)

    def resolve(self, name: str) -> Resolved:
        """Return the chip that an id or an alias stands for."""
        folded = name.strip().lower()
        if folded in self._paths:
            return Resolved(self.chip(folded), None)
        meant = self.aliases.get(folded, folded)
        if folded in self.aliases and meant not in self._paths:
            message = f"{self._alias_files[folded]}: [aliases]: {folded} = {meant!r} is no chip here"
            raise SpecError(message + did_you_mean(meant, self._paths))
        return Resolved(self.chip(meant), folded)

    def has(self, name: str) -> bool:
        """Whether `name` is a chip's id or alias."""
        return name.strip().lower() in (*self._paths, *self.aliases)

    def siblings(self, alias: str) -> list[str]:
        """Return the other chip ids that `alias` could have meant: those that start with it."""
        chosen = self.aliases.get(alias)
        return [chip_id for chip_id in self.ids if chip_id.startswith(f"{alias}-") and chip_id != chosen]

    def offspring(self, chip_id: str) -> list[Chip]:
        """Return the chips that were cut from this one; only files that name it are parsed."""
        named = [name for name, path in self._paths.items() if chip_id in read_text(path)]
        return [chip for name in sorted(named) if (chip := self.chip(name)).cut_from == chip_id]

    def all(self) -> list[Chip]:
        """Return every chip, in the order of their ids."""
        return [self.chip(chip_id) for chip_id in self.ids]
