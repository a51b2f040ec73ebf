"""Language models as the matrix multiplies by their weights: one TOML file each, every figure with its source."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from bench.errors import InvalidRequest, SpecError
from bench.published.source import (
    ByFile,
    Source,
    convert,
    did_you_mean,
    named_source,
    parse_toml,
    read_sources,
    read_text,
)
from bench.units import DTYPES, STORED_BYTES

Part = Literal["attention", "dense", "experts", "head"]
Count = Annotated[int, msgspec.Meta(ge=1)]
_LARGEST: Final = 1 << 40  # no side of a matrix, and no number of layers, is beyond


class Matmul(NamedTuple):
    """Products of the activations by k×n matrices of weights, `per_layer` in each of `layers` layers.

    With `experts`, each layer has so many times `per_layer` matrices, and a token uses those of `top_k` experts.
    Of a prompt, `last_token_only` products compute a single row. `dtype` is that of weights and activations.
    """

    name: str
    part: Part
    n: int
    k: int
    per_layer: int
    layers: int
    dtype: str
    experts: int | None
    top_k: int | None
    last_token_only: bool
    source: Source
    note: str | None

    @property
    def matrices(self) -> int:
        """How many matrices of weights there are in all layers."""
        return self.per_layer * self.layers * (self.experts or 1)

    @property
    def weight_bytes(self) -> float:
        """The bytes of all of them."""
        return self.matrices * self.n * self.k * STORED_BYTES[DTYPES[self.dtype].input]


class Model(NamedTuple):
    """A model: its products, and the embedding, a table that is looked up and not multiplied by."""

    id: str
    name: str
    also: tuple[str, ...]
    weights: str
    matmuls: tuple[Matmul, ...]
    embedding_rows: int
    embedding_columns: int
    embedding_dtype: str
    source: Source
    note: str | None
    path: Path

    @property
    def parameters(self) -> int:
        """How many numbers the weights of its products and its embedding are."""
        embedding = self.embedding_rows * self.embedding_columns
        return embedding + sum(one.matrices * one.n * one.k for one in self.matmuls)

    @property
    def weight_bytes(self) -> float:
        """The bytes that they take in the formats that they are stored in; scales of blocks are not counted."""
        embedding = self.embedding_rows * self.embedding_columns
        stored = embedding * STORED_BYTES[DTYPES[self.embedding_dtype].input]
        return stored + sum(one.weight_bytes for one in self.matmuls)


class _RawMatmul(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    part: Part
    n: Count
    k: Count
    layers: Count
    per_layer: Count = 1
    dtype: str | None = None
    experts: Count | None = None
    top_k: Count | None = None
    last_token_only: bool = False
    source: str | None = None
    note: str | None = None


class _RawEmbedding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows: Count
    columns: Count
    dtype: str
    source: str | None = None


class _RawModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    weights: str
    source: str
    sources: dict[str, Any]
    embedding: Any
    matmuls: list[Any]
    also: list[str] = []
    note: str | None = None


class Models(ByFile[Model]):
    """The models by id."""

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(folders, "models", read_model)

    def find(self, name: str) -> Model:
        """Return the model of this id or other name; raise InvalidRequest, with what is near, if there is none."""
        wanted = name.strip().lower()
        if wanted in self:
            return self[wanted]
        named = self._others()
        if wanted in named:
            return named[wanted]
        message = f"no model {name!r} here"
        raise InvalidRequest(message + did_you_mean(wanted, sorted([*self, *named])))

    def _others(self) -> dict[str, Model]:
        """Return the models by their other names. Raises SpecError if one is another model's, too."""
        named: dict[str, Model] = {}
        for model in self.values():
            for other in model.also:
                if other in self or other in named:
                    message = f"{model.path}: also {other!r} is another model's name; give it to one of them"
                    raise SpecError(message)
                named[other] = model
        return named


def read_models(folders: Sequence[Path]) -> Models:
    """Return the models in some specs folders; a later folder's file replaces an earlier one of its id."""
    return Models(folders)


def read_model(path: Path) -> Model:
    """Return the model in one TOML file; raise SpecError naming file, table and field if it is malformed."""
    return _model_in(read_text(path), path)


@lru_cache(maxsize=64)
def _model_in(text: str, path: Path) -> Model:
    raw = convert(parse_toml(text, path), _RawModel, str(path))
    if raw.id != path.stem:
        message = f"{path}: id {raw.id!r} does not match the file name; the file must be named after its model"
        raise SpecError(message)
    _check_texts(raw, path)
    sources = read_sources(raw.sources, path)
    named_source(raw.source, sources, f"{path}: source")
    _check_dtype(raw.weights, f"{path}: weights")
    embedding = convert(raw.embedding, _RawEmbedding, f"{path}: [embedding]")
    _check_dtype(embedding.dtype, f"{path}: [embedding]: dtype")
    _check_size(embedding, ("rows", "columns"), f"{path}: [embedding]")
    if not raw.matmuls:
        message = f"{path}: matmuls is empty; give at least one [[matmuls]]"
        raise SpecError(message)
    used = {raw.source, embedding.source or raw.source}
    named_source(embedding.source or raw.source, sources, f"{path}: [embedding]")
    matmuls = []
    for number, table in enumerate(raw.matmuls, start=1):
        where = f"{path}: [[matmuls]] {number}"
        entry = convert(table, _RawMatmul, where)
        used.add(entry.source or raw.source)
        matmuls.append(_matmul(entry, raw, sources, where))
    _check_names(matmuls, path)
    for name in sources:
        if name not in used:
            message = f"{path}: [sources.{name}]: nothing here names it; delete it or name it"
            raise SpecError(message)
    return Model(
        id=raw.id,
        name=raw.name,
        also=tuple(raw.also),
        weights=raw.weights,
        matmuls=tuple(matmuls),
        embedding_rows=embedding.rows,
        embedding_columns=embedding.columns,
        embedding_dtype=embedding.dtype,
        source=named_source(raw.source, sources, f"{path}: source"),
        note=raw.note,
        path=path,
    )


def _matmul(one: _RawMatmul, raw: _RawModel, sources: Mapping[str, Source], where: str) -> Matmul:
    dtype = one.dtype or raw.weights
    _check_dtype(dtype, f"{where}: dtype")
    _check_size(one, ("n", "k", "layers", "per_layer", "experts"), where)
    if not one.name.strip():
        message = f"{where}: name {one.name!r} is empty; say what is computed"
        raise SpecError(message)
    if (one.experts is None) != (one.top_k is None) or (one.experts or 1) < (one.top_k or 1):
        message = f"{where}: experts {one.experts} and top_k {one.top_k} go together, top_k of the experts"
        raise SpecError(message)
    return Matmul(
        name=one.name,
        part=one.part,
        n=one.n,
        k=one.k,
        per_layer=one.per_layer,
        layers=one.layers,
        dtype=dtype,
        experts=one.experts,
        top_k=one.top_k,
        last_token_only=one.last_token_only,
        source=named_source(one.source or raw.source, sources, where),
        note=one.note,
    )


def _check_texts(raw: _RawModel, path: Path) -> None:
    for name in (raw.id, *raw.also):
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
            message = f"{path}: {name!r} must be lower-case letters, digits, '-' and '.', as people will type it"
            raise SpecError(message)
    if not raw.name.strip():
        message = f"{path}: name {raw.name!r} is empty; say what the model is called"
        raise SpecError(message)


def _check_size(table: _RawMatmul | _RawEmbedding, names: Sequence[str], where: str) -> None:
    for name in names:
        value = getattr(table, name)
        if value is not None and value > _LARGEST:
            message = f"{where}: {name} {value} is beyond any model; correct it"
            raise SpecError(message)


def _check_dtype(name: str, where: str) -> None:
    if name not in DTYPES:
        message = f"{where} {name!r} is unknown{did_you_mean(name, DTYPES)}"
        raise SpecError(message)


def _check_names(matmuls: Sequence[Matmul], path: Path) -> None:
    seen: set[tuple[Part, str]] = set()
    for number, one in enumerate(matmuls, start=1):
        if (one.part, one.name) in seen:
            message = f"{path}: [[matmuls]] {number}: {one.part} has a {one.name!r} already; give it another name"
            raise SpecError(message)
        seen.add((one.part, one.name))
