"""What to measure. A workload makes cells, never touches a device, and is a file and a line here."""

from types import MappingProxyType
from typing import Final

# Every workload with what it is, as the help says it; `run.planning` has the plan of each.
WORKLOADS: Final = MappingProxyType(
    {
        "gemm": "square products, one size a format",
        "skinny": "products of 1 to 8192 rows",
        "stream": "copy and triad through memory",
        "llm": "the products of a model",
        "p2p": "copies to the other GPUs of this machine",
    }
)
