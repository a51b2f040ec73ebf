"""How many processes of one job a launcher runs on this machine at the same time, each measuring for itself."""

import os
import re
from typing import Final

# Open MPI's mpirun, and Hydra's, which MPICH and Intel MPI have: processes on this machine.
_COUNTS: Final = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
# Slurm's srun: those of every machine in their order, '8(x2),4' for 8, 8 and 4, and which machine this is.
_SLURM_COUNTS: Final = "SLURM_STEP_TASKS_PER_NODE"
_SLURM_MACHINE: Final = "SLURM_NODEID"
_MOST: Final = 1 << 20
_COUNT: Final = re.compile(r"\d{1,7}", re.ASCII)


def ranks_here() -> int:
    """Return how many processes the launcher that started this one runs on this machine; 1 without one.

    Seen to be so with srun of Slurm 22.05 and mpirun of Open MPI 4.1. That MPICH and Intel MPI set MPI_LOCALNRANKS
    is what other programs rely on, and was not tried.
    """
    for name in _COUNTS:
        if _COUNT.fullmatch(text := os.environ.get(name, "")):
            return max(1, int(text))
    counts = _listed(os.environ.get(_SLURM_COUNTS, ""))
    machine = os.environ.get(_SLURM_MACHINE, "0")
    index = int(machine) if _COUNT.fullmatch(machine) else 0
    return counts[index] if index < len(counts) else 1


def _listed(text: str) -> list[int]:
    """Return the counts that Slurm's short form stands for; none for what is not of that form."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,7})(?:\(x(\d{1,7})\))?", part.strip(), re.ASCII)
        if found is None:
            return []
        counts += [max(1, int(found[1]))] * min(int(found[2] or 1), _MOST)
    return counts
