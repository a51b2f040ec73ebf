"""The columns that several views share, so that a cell, a rate and a peak read the same everywhere."""

from typing import Any

from bench.analysis.compare import Estimate
from bench.published.figures import Figure
from bench.workloads.base import Cell


def shape_columns(cell: Cell) -> dict[str, Any]:
    """Return a cell's dtype and sizes."""
    shape = cell.shape
    return {
        "dtype": cell.dtype_name,
        "m": shape.m if shape else None,
        "n": shape.n if shape else None,
        "k": shape.k if shape else None,
    }


def rate_columns(rate: Estimate | None) -> dict[str, Any]:
    """Return a rate per second with the ends of its interval; None where there is none."""
    interval = rate.interval if rate else None
    return {
        "rate": rate.rate if rate else None,
        "rate_lo": interval.lo if interval else None,
        "rate_hi": interval.hi if interval else None,
    }


def unit_of(cell: Cell) -> str | None:
    """Return the base unit of a cell's rate."""
    return cell.dtype.rate_unit if cell.dtype else None


def peak_text(figure: Figure, cell: Cell) -> str:
    """Return a published peak as its sheet prints it, with the figure's name if that is not the cell's dtype."""
    name = "" if figure.name == cell.dtype_name else f" ({figure.name})"
    return f"{figure.value} {figure.unit}{name}"
