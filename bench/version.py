"""The version, in the one place that the package, its metadata and its records take it from."""

from typing import Final

VERSION: Final = "0.7.0"
