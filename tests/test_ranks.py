"""How many processes of a job a launcher runs on this machine, from the variables that it sets."""

import pytest

from bench.run.ranks import ranks_here

VARIABLES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_it_is_one() -> None:
    assert ranks_here() == 1


@pytest.mark.parametrize("name", VARIABLES[:2])
@pytest.mark.parametrize(("text", "count"), [("8", 8), ("1", 1), ("0", 1), ("", 1), ("many", 1), ("-3", 1)])
def test_mpi_tells_the_number(monkeypatch: pytest.MonkeyPatch, name: str, text: str, count: int) -> None:
    monkeypatch.setenv(name, text)
    assert ranks_here() == count


@pytest.mark.parametrize(
    ("text", "machine", "count"),
    [
        ("8", "0", 8), ("8(x3)", "2", 8), ("8(x2),4", "1", 8), ("8(x2),4", "2", 4), ("2,1(x3),5", "4", 5),
        ("8(x2),4", "3", 1), ("8(y2)", "0", 1), ("", "0", 1), ("8", "first", 8), ("999999999(x9)", "0", 1),
    ],
)  # fmt: skip
def test_slurm_tells_those_of_every_machine(
    monkeypatch: pytest.MonkeyPatch, text: str, machine: str, count: int
) -> None:
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", text)
    monkeypatch.setenv("SLURM_NODEID", machine)
    assert ranks_here() == count
