"""One field of a valid file changed, in every way that has ever hurt a reader: which field, and into what."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

Steps = tuple[str | int, ...]
_DEEP: Final = 300  # containers inside each other: far more than any file has, below what a stack holds
_LONG: Final = 20_000


_TABLES: Final = ("sources", "figures", "aliases")  # whose entries are all of one kind, under any name


class Raw(NamedTuple):
    """A value as it is to stand in the file, whatever that is."""

    text: str


class Change(NamedTuple):
    """What becomes of the field at `path`: another `value`, or it is removed, renamed, or has a neighbour."""

    path: Steps
    how: str
    value: Any = None
    near: bool = False

    @property
    def kind(self) -> tuple[Any, ...]:
        """Which field it is, in whatever entry of a list or table, and whether the new value is near the old."""
        named = ("*" if number == 1 and self.path[0] in _TABLES else step for number, step in enumerate(self.path))
        return (*("#" if isinstance(step, int) else step for step in named), self.near)


def _nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


NUMBERS: Final = (
    0, 1, -1, 2, 3, 1000, -0.0, 0.5, -0.5, 1.5, 5e-324, 1e-308, 1e-30, 1e-17, 1e-9, 1e9, 1e17, 1e30, 1e308, -1e308,
    10**6, 10**9, 10**12, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**40, -(10**40),
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXTS: Final = (
    "", " ", "\t\n", "a", "\x00", "\x1b[2J\x1b]0;x\x07", "\u202e\u200b", "nan", "inf", "-1", "0", "1e999", "null",
    "ä" * 300, "x" * _LONG, "../../etc/passwd", "/etc/passwd", "~root", "-rf", "a\nb", "javascript:alert(1)",
    "http://", "<script>alert(1)</script>", "{{7*7}}", "=1+1", "\\input{x}", "%s%n", "😀" * 40, "NaN", "CON",
    "steady", "sustained:nan", "sustained:-1", "sustained:1e999", "matmul", "fp64", "published", "unknown",
    "2025-02-30", "2026-13-01T00:00:00Z", "2025-02-29T00:00:00Z", "2026-01-02T25:00:00Z", "2026-01-02T03:04:05",
    "2026-01-02T03:04:05+01:00", "2026-01-02", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-1-2T3:4:5Z",
    "٢٠٢٦-01-02T03:04:05Z", "yesterday",
)  # fmt: skip
OTHERS: Final[tuple[Any, ...]] = (
    None, True, False, [], {}, [[]], [{}], [None], [0], [""], {"": 0}, {"a": {"b": [{}]}}, [1] * 300,
    _nested(_DEEP),
)  # fmt: skip
_SPOILT: Final = (
    "-",
    "--1",
    "0x10",
    "1_0",
    "01",
    "1e",
    "nul",
    "'",
    '"',
    "[1,",
    '{"a":',
    "1 2",
    ",",
    "//",
    "\x00",
    "=",
)
IN_JSON: Final = (
    *(Raw(text) for text in _SPOILT),
    *(
        Raw(text)
        for text in ("1e400", "-1e400", '"\\ud800"', '"\\u0000"', "1" * 5000, "0." + "0" * 400 + "1", "NaN")
    ),
    Raw("[" * 5000 + "]" * 5000),
)
IN_TOML: Final = (
    *(Raw(text) for text in _SPOILT),
    *(Raw(text) for text in ("1e400", "-1e400", "nan", "+inf", "2025-02-30", "2025-13-01", "07:32:00")),
    *(Raw(text) for text in ("1979-05-27T07:32:00Z", "1979-05-27T07:32:00", '"""a"""', "1" * 5000, "0.1e-400")),
    *(Raw(text) for text in ("0b1", "0o7", "9999-12-31", "0001-01-01")),
)


def paths(tree: Any, most: int = 3, at: Steps = ()) -> Iterator[Steps]:  # noqa: ANN401 - as JSON and TOML have it
    """Yield where every field of a file is; of a long list the first, the middle and the last one only."""
    if at:
        yield at
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield from paths(inner, most, (*at, key))
    elif isinstance(tree, list):
        picked = range(len(tree)) if len(tree) <= most else sorted({0, len(tree) // 2, len(tree) - 1})
        for index in picked:
            yield from paths(tree[index], most, (*at, index))


def at_path(tree: Any, path: Steps) -> Any:  # noqa: ANN401 - as above
    """Return what stands at `path`."""
    for step in path:
        tree = tree[step]
    return tree


def changes(tree: Any, own: Sequence[Any]) -> list[Change]:  # noqa: ANN401 - as above
    """Return every change of one field of a file; `own` are the values that only its language can write."""
    found = []
    for path in paths(tree):
        value = at_path(tree, path)
        found += [Change(path, "set", other) for other in (*NUMBERS, *TEXTS, *OTHERS, *own)]
        found += [Change(path, "set", other, near=True) for other in _near(value)]
        found.append(Change(path, "removed"))
        if isinstance(path[-1], str):
            found += [
                Change(path, "renamed", name) for name in (f"{path[-1]}s", path[-1].upper(), "", "kind", "x\n")
            ]
            found += [Change(path, "beside", value), Change(path, "doubled", value)]
        else:
            found.append(Change(path, "doubled", value))
    return found


def _near(value: Any) -> Iterator[Any]:  # noqa: ANN401 - one case a kind of value
    """Yield what is nearly the value."""
    if isinstance(value, bool):
        yield from (not value, str(value).lower())
    elif isinstance(value, int | float):
        yield from (-value, value + 1, value - 1, value * 2, value * 1000, value * 1_000_000, value / 1_000_000)
        yield from (float(value), str(value), [value], int(value))
    elif isinstance(value, Decimal):
        yield from (-value, value * 2, value * 1000, value / 1_000_000, str(value), [value])
    elif isinstance(value, date):
        far = timedelta(days=4000)
        yield from (
            value - far,
            value + far,
            date.min,
            date.max,
            str(value),
            value.year,
            value + timedelta(days=1),
        )
    elif isinstance(value, str):
        yield from (f"{value} ", f"{value}\n", value.upper(), value[::-1], value * 2, value[:-1], [value])
        yield from (f"{value}\x1b[31m", f"\u202e{value}", value.replace("e", "é"))
    elif isinstance(value, list):
        yield from (value[::-1], value[:-1], value[1:], value + value[-1:], [*value, None], value * 2)
    elif isinstance(value, dict):
        yield from ([value], {**value, "unknown_key": 1}, dict(list(value.items())[1:]), [*value.items()])


def changed(tree: Any, change: Change) -> Any:  # noqa: ANN401 - as above
    """Return the tree with the change made; what did not change is shared with the old one."""
    return _changed(tree, change.path, change)


def _changed(tree: Any, path: Steps, change: Change) -> Any:  # noqa: ANN401 - as above
    step, *rest = path
    if rest:
        inner = _changed(tree[step], tuple(rest), change)
        if isinstance(tree, dict):
            return {**tree, step: inner}
        return [*tree[: int(step)], inner, *tree[int(step) + 1 :]]
    if isinstance(tree, dict):
        return _with_field(tree, str(step), change)
    index = int(step)
    now = {"set": [change.value], "removed": [], "doubled": [change.value] * 2}[change.how]
    return [*tree[:index], *now, *tree[index + 1 :]]


def _with_field(table: dict[str, Any], key: str, change: Change) -> dict[str, Any]:
    others = {name: value for name, value in table.items() if name != key}
    match change.how:
        case "set":
            return {**table, key: change.value}
        case "removed":
            return others
        case "renamed":
            return {**others, change.value: table[key]}
        case "beside":
            return {**table, f"{key}_2": change.value}
        case _:  # the same key a second time, which only the text of a file can have
            return {**table, Twice(key): change.value}


class Twice(str):
    """A key that is written as another one is, and is none of those that a table has."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash((Twice, str(self)))

    def __eq__(self, other: object) -> bool:
        return self is other


def as_json(tree: Any) -> str:  # noqa: ANN401 - as above
    """Return a tree as JSON text on one line; NaN and infinities are written as Python does."""
    match tree:
        case Raw(text):
            return text
        case Decimal():
            return str(tree)
        case date():
            return json.dumps(str(tree))
        case dict():
            return "{" + ",".join(f"{json.dumps(str(key))}:{as_json(one)}" for key, one in tree.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(as_json, tree)) + "]"
        case _:
            return json.dumps(tree)


def as_toml(tree: dict[str, Any]) -> str:
    """Return a tree as TOML: a line for each key, with tables and lists in it."""
    return "".join(f"{_toml_text(str(key))} = {_toml(value)}\n" for key, value in tree.items())


def _toml(value: Any) -> str:  # noqa: ANN401, PLR0911 - one case a kind of value
    match value:
        case Raw(text):
            return text
        case bool():
            return str(value).lower()
        case None:
            return "null"  # which is none of TOML's values
        case str():
            return _toml_text(value)
        case dict():
            return "{" + ", ".join(f"{_toml_text(str(key))} = {_toml(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return str(value)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
