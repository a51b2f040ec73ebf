"""What options of `run` take: sizes, shapes, seconds and GPUs, each with the one line for what is none."""

from typing import Any, Final

import click

_MOST: Final = 10**15
ALL: Final = "all"


class Size(click.ParamType):  # type: ignore[type-arg] # generic from Click 8.4 on
    """A whole number above zero; 1e4 is accepted for 10000."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the number; fail if it is none, or more than fits any machine."""
        try:
            number = float(value)
            size = int(number)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if size != number or size < 1:
            self.fail(f"{value} is not a whole number above 0", param, ctx)
        if size > _MOST:
            self.fail(f"{value} is more than any machine holds", param, ctx)
        return size


class ShapeType(click.ParamType):  # type: ignore[type-arg] # generic from Click 8.4 on
    """Three sizes joined by x."""

    name = "MxNxK"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:  # noqa: ANN401
        """Return the three sizes."""
        parts = value if isinstance(value, tuple) else str(value).lower().split("x")
        if len(parts) != 3:
            self.fail(f"{value!r} is not of the form MxNxK, as in 4096x4096x1024", param, ctx)
        return tuple(Size().convert(part, param, ctx) for part in parts)


class Seconds(click.FloatRange):
    """Seconds, `least` to a week; NaN is in no range, which Click's own comparison does not notice."""

    def __init__(self, least: float = 1.0) -> None:
        super().__init__(min=least, max=7 * 86400.0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number of seconds."""
        seconds = float(super().convert(value, param, ctx))
        if seconds != seconds:  # noqa: PLR0124 - NaN
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return seconds


class GpuIndex(click.ParamType):  # type: ignore[type-arg] # generic from Click 8.4 on
    """A GPU's index, or all of them."""

    name = "gpu"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Return the index as text, or `all`."""
        text = str(value).strip().lower()
        if text != ALL and not (text.isascii() and text.isdigit()):
            self.fail(f"{value!r} is no index of a GPU as 'chipbench devices' counts, and not {ALL}", param, ctx)
        return text if text == ALL else str(int(text))
