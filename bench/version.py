"""The version, in the one place that the package, its metadata and its records take it from."""

import re
from typing import Final

VERSION: Final = "0.8.0"


def is_later(tool: object) -> bool:
    """Whether this is a version, and one after this version; what a file says of itself may be anything."""
    if not isinstance(tool, str) or not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}", tool, re.ASCII):
        return False
    numbers, own = (tuple(map(int, text.split("."))) for text in (tool, VERSION))
    return numbers > own
