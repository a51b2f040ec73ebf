"""Benchmarks need the machine for themselves: under pytest-xdist they are refused, not run without a figure."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what pytest-benchmark would disable with no more than a warning."""
    if config.getoption("dist", "no") != "no" or "PYTEST_XDIST_WORKER" in os.environ:
        message = (
            "benchmarks say nothing beside other tests (pytest-xdist is on); run: pytest -n 0 tests/benchmarks"
        )
        raise pytest.UsageError(message)
