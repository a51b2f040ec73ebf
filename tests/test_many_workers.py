"""Two hundred Dask workers of simulated GPUs, with seeded faults, through the very code that a cluster runs.

Only the device is simulated (scripts of blocks, no clock), and a job runs in this process: scheduler, workers,
events, retries, records and the fleet report are real.
"""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import dask
import msgspec
import pytest
from distributed import LocalCluster, Worker, get_worker

from bench.analysis.fleet import fleet_of
from bench.errors import BackendUnavailable
from bench.measure.policy import Policy
from bench.records.record import read_lines
from bench.records.store import folder_key
from bench.run import member
from bench.run.choosing import Choice
from bench.run.collecting import measure_several
from bench.run.fleet import worker as on_worker
from bench.run.fleet.engine import DaskEngine
from bench.run.planning import Resolved, Wish
from bench.run.several import arrange
from bench.workloads.base import Plan
from tests.places_lab import GPU, Unit, request
from tests.support import CELLS

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]

WORKERS: Final = 200
PER_HOST: Final = 8
SEED: Final = 20250409


class Fleet:
    """The simulated GPUs of a cluster: which worker has which, and what goes wrong there."""

    def __init__(self, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
        self.cluster = cluster
        self.gpus: dict[str, int] = {}
        self.waiting: list[int] = []
        self.faults: dict[int, str] = {}
        self.happened: list[tuple[int, str]] = []
        self.replacements: list[Worker] = []
        self._lock = threading.Lock()
        self._here = threading.local()
        monkeypatch.setattr(on_worker, "relay", self.relay)
        # Here all workers are in one process, and do their jobs at once all the same.
        monkeypatch.setattr(on_worker, "_ONE_AT_A_TIME", threading.Semaphore(WORKERS))
        monkeypatch.setattr(member, "choose", lambda _name, _index=None: Choice(self.unit(), None))
        monkeypatch.setattr(member, "open_backend", lambda _name, _index=None: self.unit())
        monkeypatch.setattr(member, "resolve", self._resolved)
        monkeypatch.setattr("bench.run.session.host_identity", lambda: f"host {self._here.gpu // PER_HOST}")

    def gpu_of(self, address: str) -> int:
        """Return the GPU of a worker: a new one's is one that lost its worker, or the next."""
        with self._lock:
            if address not in self.gpus:
                self.gpus[address] = self.waiting.pop(0) if self.waiting else len({*self.gpus.values()})
            return self.gpus[address]

    def unit(self) -> Unit:
        return Unit(f"board {self._here.gpu}", msgspec.structs.replace(GPU, index=self._here.gpu % PER_HOST))

    @staticmethod
    def _resolved(_unit: Unit, wish: Wish) -> Resolved:
        return Resolved(Plan(workload=wish.workload, cells=CELLS), Policy(), ())

    def relay(self, job: bytes, emit: Callable[[bytes], None], _is_wanted: Callable[[], bool]) -> None:
        """Do a job as its process would, but for the fault that its GPU has, once."""
        worker = get_worker()
        self._here.gpu = gpu = self.gpu_of(worker.address)
        measuring = isinstance(member.decoded_job(job), member.Measure)
        fault = self.faults.pop(gpu, None) if measuring else None
        lines: list[bytes] = []
        member.work(job, lines.append)
        if fault is None:
            for line in lines:
                emit(line)
            return
        self.happened.append((gpu, fault))
        for line in lines[:2]:
            emit(line)
        if fault == "process":
            raise BackendUnavailable(member.DIED)
        if fault in {"worker", "machine"}:
            self._end(worker, gpu, back=fault == "worker")
        threading.Event().wait(2.0)  # whatever it would still send comes from a worker that is gone

    def _end(self, worker: Any, gpu: int, *, back: bool) -> None:  # noqa: ANN401
        """Close the worker; one that comes `back` is a new worker with the same GPU."""
        worker.loop.add_callback(worker.close, nanny=False, reason="fault")
        if back:
            with self._lock:
                self.waiting.append(gpu)
            self.cluster.loop.add_callback(self._replace)

    async def _replace(self) -> None:
        address = self.cluster.scheduler.address
        self.replacements.append(await Worker(address, nthreads=1, memory_limit=0, dashboard=False))


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    # Two hundred workers that look after their own health every 0.1 s in one thread would do nothing else.
    quiet = {"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.interval": "60s"}
    with (
        dask.config.set(quiet),
        LocalCluster(
            n_workers=WORKERS,
            processes=False,
            threads_per_worker=1,
            dashboard_address=None,
            memory_limit=0,
            silence_logs=60,
        ) as cluster,
    ):
        made = Fleet(cluster, monkeypatch)
        yield made
        for worker in made.replacements:
            cluster.sync(worker.close)


def test_two_hundred_gpus_with_faults_lose_no_finished_cell(many: Fleet, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    unlucky = rng.sample(range(WORKERS), 24)
    many.faults = dict(zip(unlucky, ["process"] * 8 + ["worker"] * 8 + ["machine"] * 8, strict=True))
    faults = dict(many.faults)
    results, asked = tmp_path / "results", request(tmp_path / "results")
    key = folder_key(results)
    with many.cluster.get_client() as client:
        engine = DaskEngine(client)
        engine.settle()
        arranged = arrange(engine, asked, key, indices={}, together=True)
        assert len(arranged.begun) == WORKERS
        collected, stopped_by = measure_several(
            engine, arranged.begun, asked, lambda _progress: None, patience_s=15.0
        )
    assert stopped_by is None
    assert sorted(many.happened) == sorted(faults.items())
    gpu_of = {one.header.device.key: int(many.gpus[one.place]) for one in collected}
    for one in collected:
        lines = read_lines(one.path)
        fault = faults.get(gpu_of[lines.header.device.key])
        cells = [measurement.cell for measurement in lines.measurements]
        if fault == "machine":
            assert one.error is not None
            assert cells == list(lines.header.plan.cells[:2]), "two cells had arrived"
        else:
            assert one.error is None, (fault, one.error)
            assert cells == list(lines.header.plan.cells)
            assert lines.footer is not None
            assert lines.resumed == (0 if fault is None else 1)
    found = fleet_of([one.path for one in collected], lambda _name: None)
    assert len(found.units) == WORKERS
    assert len({unit.host for unit in found.units}) == WORKERS // PER_HOST
