"""What to measure. A workload makes cells, never touches a device, and is a file and a line here."""

from types import MappingProxyType
from typing import Final

PAIRS: Final = "p2p"  # the workload whose cells are of two devices

# Every workload with what it is, as the help says it; `run.planning` has the plan of each.
WORKLOADS: Final = MappingProxyType(
    {
        "gemm": "square products, one size a format",
        "skinny": "products of 1 to 8192 rows",
        "stream": "copy and triad through memory",
        "llm": "the products of a model",
        PAIRS: "copies to the other GPUs of this machine",
    }
)
