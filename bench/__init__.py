"""chipbench: what a GPU really does, against what is published for it and for the chips it was cut from."""

from typing import Any

from bench.version import VERSION

__version__ = VERSION
__all__ = ["__version__", "load_results"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes have any type
    """Import `load_results` when it is first asked for: it needs pandas, which `import bench` does not."""
    if name == "load_results":
        from bench.report.tables import load_results  # noqa: PLC0415 - lazy by design

        return load_results
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
