"""The title of a picture of rates over sizes: how near each side comes to its published peak, from where on."""

from collections.abc import Sequence
from typing import Final

from bench.analysis.estimates import is_above_peak
from bench.report.plots.layout import MOST_TITLE, shortened
from bench.report.plots.names import LONG, SHORT, bound, format_text, rate_text
from bench.report.plots.sweep_series import Drawable, Over, Point, Series
from bench.report.view import percent
from bench.units import Dtype

_NEAR: Final = 0.1  # of the peak: what is missing at most where a side comes near it


def title_of(found: Drawable, dtype: Dtype) -> str:
    """Return the finding: what every side reaches, or, if that is too long, the best and the worst of them.

    Where that is no finding on a chip, as other products of it are faster or may be, it says what it is of.
    """
    series, over, start = found.series, found.over, _of_what(found, dtype)
    mixed = len({one.kind for one in series}) > 1
    kind = "" if mixed else f", {series[0].kind},"
    order = sorted(_held(series), key=lambda one: one.share(one.best) or one.best.rate.rate, reverse=True)
    whole = f"{start}{kind} {'; '.join(_clauses(series, over, dtype, mixed=mixed))}"
    shares = start + _briefly(_by_kind(order), dtype, most=LONG)
    ends = start + _briefly([order[0], *order[1:][-1:]], dtype, most=SHORT)
    between = f", {len(order) - 2} more in between" if len(order) > 2 else ""
    title = next((title for title in (whole, shares) if len(title) <= MOST_TITLE), f"{ends}{between}")
    return title.replace(" %", bound(" %"))


def _of_what(found: Drawable, dtype: Dtype) -> str:
    if found.over.matrix:
        return f"In {format_text(dtype)} products by one {found.over.matrix} matrix"
    return f"In square {format_text(dtype)} products" if found.faster else f"In {format_text(dtype)}"


def _clauses(series: Sequence[Series], over: Over, dtype: Dtype, *, mixed: bool) -> list[str]:
    """Return a sentence on each side, with its kind if there are several."""
    clauses, peak = [], "its published peak"
    for one in series:
        kind = f", {one.kind}," if mixed else ""
        clauses.append(f"{_who(one, LONG)}{kind} {_reached(one, over, dtype, peak)}")
        if one.peak is not None:
            peak = "its own"
    return clauses


def _who(one: Series, most: int) -> str:
    """Return its name, which no line break may part."""
    return bound(f"the {shortened(one.name, most)}")


def _reached(one: Series, over: Over, dtype: Dtype, peak: str) -> str:
    best, share = one.best, one.share(one.best)
    at = f"at best ({over.text(best.size)})" if len(one.points) > 1 else f"at {over.text(best.size)}"
    if share is None:
        return f"reaches {rate_text(best.rate.rate, dtype.rate_label)} {at}"
    if is_above_peak(share):
        return f"exceeds {peak}, with {percent(share)} of it {at}"
    near = _near(one)
    if len(near) > 1:
        return f"comes within {percent(_NEAR, 2)} of {peak} from {over.text(near[0].size)} on"
    return f"reaches {percent(share)} of {peak} {at}"


def _near(one: Series) -> list[Point]:
    """Return the largest products, as many as come near the peak without one among them that does not."""
    found: list[Point] = []
    for point in reversed(one.points):
        if (one.share(point) or 0.0) < 1 - _NEAR:
            break
        found.insert(0, point)
    return found


def _held(series: Sequence[Series]) -> Sequence[Series]:
    """Return those with a published peak, whose shares can be put in order; all of them if there is none."""
    return [one for one in series if one.peak is not None] or series


def _by_kind(order: Sequence[Series]) -> list[Series]:
    kinds = [*dict.fromkeys(one.kind for one in order)]
    return sorted(order, key=lambda one: kinds.index(one.kind))


def _briefly(shown: Sequence[Series], dtype: Dtype, *, most: int) -> str:
    """Return what share of its peak each reaches, or what rate where they have none, with the kinds of rates."""
    of = "" if shown[0].peak is None else " of its published peak"
    best = " at best" if any(len(one.points) > 1 for one in shown) else ""
    text, kind = "", None
    for one in shown:
        verb, more = ("", "") if text else (" reaches", f"{of}{best}")
        told = "" if one.kind == kind else f"{';' if text else ','} {one.kind}"
        text += f"{told}, {_who(one, most)}{verb} {_height(one, dtype)}{more}"
        kind = one.kind
    return text


def _height(one: Series, dtype: Dtype) -> str:
    share = one.share(one.best)
    return rate_text(one.best.rate.rate, dtype.rate_label) if share is None else percent(share)
