"""Copies to other GPUs: the cells, what is planned and refused, how they are timed, what the check finds out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from bench.devices import cuda, environment
from bench.devices.cuda import CudaBackend
from bench.devices.nvidia import peer
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.peer import MEMCPY_PEER, PeerTask
from bench.devices.nvidia.runtime import CupyRuntime
from bench.errors import CellFailed, InvalidRequest
from bench.report.wording import sentence
from bench.run.planning import Wish, resolve
from bench.workloads import p2p
from bench.workloads.base import Cell
from tests.command import chipbench
from tests.gpu_lab import Lab
from tests.simulated_cupy import CUDARuntimeError
from tests.simulated_gpu import SimulatedGpu, simulated_peers
from tests.test_cuda_backend import H100

SMALL: Final = 1 << 16
NO_CACHE: Final = {"properties": {"l2CacheSize": 16}}


def cell(ways: int = 1, count: int = 4099, *, peer: int = 5, data: Any = "normal") -> Cell:  # noqa: ANN401
    return p2p.cells([peer], count, library=MEMCPY_PEER, data=data)[ways - 1]


def task_of(ways: int = 1, count: int = 4099, gpus: Sequence[SimulatedGpu] = (), **more: Any) -> PeerTask:  # noqa: ANN401
    here, there = gpus or simulated_peers(2)
    return PeerTask(here, there, cell(ways, count, **more), 7, cold=False, watcher=None)


def machine(*gpus: Gpu) -> Inventory:
    return Inventory("580.65.06", 13000, gpus)


def gpu(ordinal: int | None, index: int, **more: Any) -> Gpu:  # noqa: ANN401
    bus = f"0000:{0x1B + (index if ordinal is None else ordinal):02x}:00.0"
    return H100._replace(index=index, cuda_index=ordinal, bus_id=bus, uuid=f"GPU-{index}", **more)


# NVML counts these three 2, 5 and 7; CUDA programs count them 0, 1 and 2.
THREE: Final = (gpu(0, 2), gpu(1, 5), gpu(2, 7))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    made = Lab(monkeypatch, tmp_path)
    made.gpu = simulated_peers(3, **NO_CACHE)[0]
    monkeypatch.setattr(cuda, "inventory", lambda: machine(*THREE))
    return made


def taking(seconds: float) -> Callable[[str, int], float]:
    return lambda _name, _block: seconds


class TestCells:
    def test_a_byte_counts_once_and_both_ways_count_both(self) -> None:
        one, both = cell(1, 1000), cell(2, 1000)
        assert (one.work, both.work) == (4000, 8000)
        assert (one.bytes_moved, one.flop, one.rate_unit, one.rate_label) == (4000, 0, "byte_per_s", "B/s")

    def test_only_copies_both_ways_are_held_against_the_figure_of_both_ways(self) -> None:
        assert (cell(1).figures, cell(2).figures) == ((), ("nvlink",))
        assert all(one.dtype is None for one in (cell(1), cell(2)))

    def test_the_label_says_where_to_and_what_is_unusual(self) -> None:
        assert cell(1, 1 << 27).label == "peer_copy 537 MB to 5"
        assert cell(2, 1 << 27).label == "peer_copy 537 MB with 5"
        together = msgspec.structs.replace(cell(1, 1 << 27, data="zeros"), load="together")
        assert together.label == "peer_copy 537 MB to 5 (zeros, together)"

    def test_every_peer_is_copied_to_and_with_once(self) -> None:
        made = p2p.cells([5, 7, 5], 8, library=MEMCPY_PEER)
        assert [(one.peer, one.ways, one.load) for one in made] == [
            (peer, ways, "alone") for peer in (5, 7) for ways in (1, 2)
        ]
        assert len({one.key for one in made}) == 4


class TestTask:
    @pytest.mark.parametrize("ways", [1, 2])
    @pytest.mark.parametrize("count", [1, 3, 5001])
    def test_what_it_copies_is_right(self, ways: int, count: int) -> None:
        assert task_of(ways, count).verify().passed

    def test_a_block_of_one_way_has_as_many_copies_as_asked_and_their_time(self) -> None:
        gpus = simulated_peers(2)
        task = task_of(1, gpus=gpus)
        gpus[0].launched.clear()
        block = task.block(5)
        assert (block.calls, gpus[0].launched, gpus[1].launched) == (5, [("peer", 1)] * 5, [])
        assert block.seconds_per_call == pytest.approx(1e-3)

    @pytest.mark.parametrize(("there_s", "back_s"), [(1e-3, 1e-3), (1e-3, 3e-3), (3e-3, 1e-3)])
    @pytest.mark.parametrize("busy_s", [0.0, 50.0])
    def test_both_ways_run_beside_each_other_and_the_slower_one_sets_the_time(
        self, there_s: float, back_s: float, busy_s: float
    ) -> None:
        """Whatever this GPU did before, while the other was idle: no copy begins or ends outside the interval."""
        gpus = simulated_peers(2)
        task = task_of(2, gpus=gpus)
        gpus[0].seconds_of, gpus[1].seconds_of = taking(there_s), taking(back_s)
        gpus[0].device_s += busy_s
        block = task.block(4)
        assert block.seconds_per_call == pytest.approx(max(there_s, back_s))
        assert (len(gpus[0].launched), len(gpus[1].launched)) == (4, 4)

    def test_it_says_what_copied_and_what_was_sent(self) -> None:
        task = task_of(2)
        assert task.candidates == [{"by": "cudaMemcpyPeerAsync", "peer_access": 1}]
        assert task.algorithm == {"by": "cudaMemcpyPeerAsync", "peer_access": 1, "timed": "calls"}
        assert sorted(task.data) == ["a", "b"]
        assert task.data["a"] != task.data["b"]
        assert all(one.sd == pytest.approx(1, abs=0.1) for one in task.data.values())
        assert task_of(1, data="zeros").data["a"].zero_share == 1.0

    @pytest.mark.parametrize("blind", [0, 1])
    def test_without_access_from_either_side_the_rate_is_said_to_be_the_host_s(self, blind: int) -> None:
        gpus = simulated_peers(2)
        gpus[blind].unreachable = {1 - blind}
        task = task_of(1, gpus=gpus)
        (caveat,) = task.caveats()
        assert task.algorithm["peer_access"] == 0
        assert "this GPU and GPU 5 cannot access each other's memory" in sentence(caveat)
        assert not task_of(1).caveats()

    def test_a_host_that_is_too_slow_is_told(self) -> None:
        gpus = simulated_peers(2)
        gpus[0].seconds_of = lambda _name, _block: 1e-6
        task = task_of(1, gpus=gpus)
        task.block(8)
        assert [one.code for one in task.caveats()] == ["launch_bound"]

    def test_a_cell_of_another_kind_is_none_for_it(self) -> None:
        here, there = simulated_peers(2)
        with pytest.raises(CellFailed, match="does not offer"):
            PeerTask(here, there, Cell(operation="copy", version=1, elements=4), 7, cold=False, watcher=None)


def nothing(_target: Any, _source: Any) -> None:  # noqa: ANN401
    """Leave the target as it was."""


def last_left_out(target: Any, source: Any) -> None:  # noqa: ANN401
    target[:-1] = source[:-1]


def swapped(target: Any, source: Any) -> None:  # noqa: ANN401
    np.copyto(target, source)
    target[[0, 5]] = target[[5, 0]]


def refused(_target: Any, _source: Any) -> None:  # noqa: ANN401
    raise CUDARuntimeError(700, "an illegal address")


@contextmanager
def explained() -> Iterator[None]:
    try:
        yield
    except CUDARuntimeError as error:
        raise CellFailed(str(error)) from error


def remembering() -> Callable[[Any, Any], None]:
    first: dict[int, Any] = {}

    def work(target: Any, source: Any) -> None:  # noqa: ANN401
        np.copyto(target, first.setdefault(id(source), source.copy()))

    return work


class TestCheck:
    @pytest.mark.parametrize("ways", [1, 2])
    @pytest.mark.parametrize("sender", [0, 1])
    @pytest.mark.parametrize("wrong", [lambda: nothing, lambda: last_left_out, lambda: swapped, remembering])
    def test_a_wrong_copy_of_either_direction_is_found_out(
        self, wrong: Callable[[], Callable[[Any, Any], None]], sender: int, ways: int
    ) -> None:
        gpus = simulated_peers(2)
        gpus[sender].peer_work = wrong()
        sends = sender < ways
        assert task_of(ways, gpus=gpus).verify().passed is not sends

    def test_every_target_is_poisoned_before_each_copy_that_is_checked(self) -> None:
        gpus = simulated_peers(2)
        seen: list[bool] = []

        def looking(target: Any, source: Any) -> None:  # noqa: ANN401
            seen.append(bool(np.isnan(target).all()))
            np.copyto(target, source)

        task = task_of(2, gpus=gpus)
        task.block(3)
        gpus[0].peer_work = gpus[1].peer_work = looking
        assert task.verify().passed
        assert seen == [True] * 4

    @pytest.mark.parametrize("part", [1000, 4096, 4099])
    def test_arrays_of_several_parts_come_back_whole(self, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
        monkeypatch.setattr(peer, "_PART", part)
        assert task_of(1, 4099).verify().passed

    def test_what_the_driver_refuses_meanwhile_is_explained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpus = simulated_peers(2)
        task = task_of(1, gpus=gpus)
        monkeypatch.setattr(gpus[0], "explained", explained)
        gpus[0].peer_work = refused
        with pytest.raises(CellFailed, match="an illegal address"):
            task.verify()

    def test_numbers_of_the_other_direction_are_found_out(self) -> None:
        sent: list[Any] = []

        def crossed(target: Any, source: Any) -> None:  # noqa: ANN401
            sent.append(source.copy())
            np.copyto(target, sent[-2] if len(sent) % 2 == 0 else source)

        here, there = simulated_peers(2)
        there.peer_work = here.peer_work = crossed
        assert not task_of(2, gpus=(here, there)).verify().passed


class TestBackend:
    def backend(self, monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, **more: Any) -> CudaBackend:  # noqa: ANN401
        monkeypatch.setattr(cuda, "inventory", lambda: machine(*gpus))
        return CudaBackend(simulated_peers(3, **more)[0], None, other_processes=0)

    def test_its_peers_are_told_by_their_index_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = self.backend(monkeypatch, *THREE, gpu(None, 8), gpu(3, 9, mig=True))
        assert backend.device().index == 2
        assert backend.peers() == (5, 7)
        assert backend.refusal(p2p.OPERATION, "fp32") is None
        task = backend.prepare(cell(1, peer=7), 7)
        task.block(1)
        assert backend._runtime.launched == [("peer", 2)]  # type: ignore[attr-defined] # of a simulated one

    @pytest.mark.parametrize(
        ("gpus", "dtype", "library", "reason"),
        [
            (THREE[:1], "fp32", None, "there is only one GPU that CUDA programs see here"),
            ((THREE[0], gpu(None, 5)), "fp32", None, "check CUDA_VISIBLE_DEVICES"),
            ((gpu(0, 2, mig=True), THREE[1]), "fp32", None, "MIG is on"),
            (THREE, "bf16", None, "are of fp32, not bf16"),
            (THREE, "fp32", "memcpy", "with memcpy_peer, not memcpy"),
        ],
    )
    def test_it_refuses_with_the_reason(
        self, monkeypatch: pytest.MonkeyPatch, gpus: Sequence[Gpu], dtype: str, library: str | None, reason: str
    ) -> None:
        found = self.backend(monkeypatch, *gpus).refusal(p2p.OPERATION, dtype, library)
        assert reason in str(found)

    def test_both_memories_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = self.backend(monkeypatch, *THREE)
        assert backend.bytes_needed(cell(1, 1 << 28)) == (2 << 30) + (1 << 30)
        assert backend.bytes_needed(cell(2, 1 << 28)) == (3 << 30) + (1 << 30)
        backend._runtime.others[1].free = (2 << 30) + 5  # type: ignore[attr-defined] # of a simulated one
        assert backend.misfit(cell(1, 1 << 28)) is None
        said = str(backend.misfit(cell(2, 1 << 28)))
        assert "it needs 4.29 GB on GPU 5 and 1.07 GB are free there" in said

    def test_a_peer_that_is_none_or_does_not_work_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = self.backend(monkeypatch, *THREE)
        assert "see no GPU 2 beside this one; they see 5, 7" in str(backend.misfit(cell(1, peer=2)))
        del backend._runtime.others[2]  # type: ignore[attr-defined] # of a simulated one
        with pytest.raises(CellFailed, match=r"GPU 7 cannot be copied to .*holds this GPU"):
            backend.prepare(cell(1, peer=7), 7)


class TestPlan:
    def test_the_arrays_are_halved_until_both_memories_hold_them(self, lab: Lab) -> None:
        wish = Wish(workload="p2p")
        whole = resolve(lab.backend(), wish)
        assert {one.elements for one in whole.plan.cells} == {p2p.ELEMENTS}
        assert whole.notes == ()
        lab.gpu.others[2].free = 3 << 30
        halved = resolve(lab.backend(), wish)
        assert {one.elements for one in halved.plan.cells} == {p2p.ELEMENTS // 2}
        assert halved.notes == ("arrays of 268 MB, since larger ones do not fit both devices",)

    def test_arrays_that_were_asked_for_are_not_halved_but_refused(self, lab: Lab) -> None:
        lab.gpu.others[2].free = 3 << 30
        with pytest.raises(InvalidRequest, match=r"537 MB with 7: it needs 2\.68 GB on GPU 7"):
            resolve(lab.backend(), Wish(workload="p2p", elements=p2p.ELEMENTS))

    def test_peers_can_be_chosen_among_those_that_are_there(self, lab: Lab) -> None:
        found = resolve(lab.backend(), Wish(workload="p2p", peers=[7]))
        assert {one.peer for one in found.plan.cells} == {7}
        with pytest.raises(InvalidRequest, match=r"nothing to device 2; its peers are 5, 7"):
            resolve(lab.backend(), Wish(workload="p2p", peers=[2]))

    def test_a_cpu_has_no_peer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "busy_share", lambda: None)
        answer = chipbench("run", "--backend", "cpu", "--workload", "p2p")
        assert answer.code == 2
        assert "a CPU has no peer to copy to" in answer.error

    def test_a_lone_gpu_has_none(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuda, "inventory", lambda: machine(THREE[0]))
        answer = lab.run("--workload", "p2p")
        assert (answer.code, answer.out) == (2, "")
        assert "there is only one GPU that CUDA programs see here" in answer.err


def test_a_run_shows_the_peer_bytes_a_second_and_a_share_of_both_ways_only(lab: Lab) -> None:
    each = {1: 4.0 * SMALL / 30e9, 2: 4.0 * SMALL / 15e9}
    for one in lab.gpu.others.values():
        one.enqueue_s = 1e-9
        one.seconds_of = lambda _name, peer: each.get(peer, each[1])
    answer = lab.run("--workload", "p2p", "--elements", str(SMALL))
    assert answer.code == 0, answer.err
    rows = [" ".join(row) for row in answer.rows]
    assert ["to 5" in rows[0], "with 5" in rows[1], "to 7" in rows[2], "with 7" in rows[3]] == [True] * 4
    assert "30.00 GB/s" in rows[0]
    assert "60.00 GB/s" in rows[1]
    assert "15.00 GB/s" in rows[2]
    assert "900 GB/s (nvlink)" not in rows[0]
    assert "6.67 % of 900 GB/s (nvlink)" in rows[1]
    text = " ".join(answer.out.split())
    assert "Held against published rates of links." in text
    assert "every byte that crosses the link to a peer counts once" in text


class TestRuntime:
    """What is asked of CUDA, on a stand-in for CuPy."""

    def runtime(self, ordinal: int, status: int | None = None, *, can: int = 1) -> CupyRuntime:
        made = object.__new__(CupyRuntime)
        asked: list[Any] = []

        def enable(peer: int) -> None:
            asked.append(peer)
            if status is not None:
                raise CUDARuntimeError(status)

        calls = SimpleNamespace(
            deviceCanAccessPeer=lambda _here, _there: can,
            deviceEnablePeerAccess=enable,
            memcpyPeerAsync=lambda *arguments: asked.append(arguments),
            CUDARuntimeError=CUDARuntimeError,
        )
        failures = {"memory": SimpleNamespace(OutOfMemoryError=MemoryError)} | {
            name: SimpleNamespace(CUDADriverError=OSError, CUBLASError=OSError, CompileException=OSError)
            for name in ("driver", "cublas", "compiler")
        }
        made.xp = SimpleNamespace(cuda=SimpleNamespace(runtime=calls, **failures), asked=asked)
        made._device = _Current(ordinal)
        made._stream = _Current(ordinal)
        return made

    @pytest.mark.parametrize(("status", "reached"), [(None, True), (704, True), (217, False), (711, False)])
    def test_access_that_is_there_already_is_access(self, status: int | None, reached: bool) -> None:
        one = self.runtime(0, status)
        assert one.reaches(self.runtime(3)) is reached
        assert one.xp.asked == [3]

    def test_access_that_cannot_be_is_not_asked_for(self) -> None:
        one = self.runtime(0, can=0)
        assert not one.reaches(self.runtime(3))
        assert one.xp.asked == []

    def test_another_failure_is_told(self) -> None:
        with pytest.raises(Exception, match="the GPU does not answer any more"):
            self.runtime(0, 719).reaches(self.runtime(3))

    def test_a_copy_names_both_devices_and_the_stream_of_the_sender(self) -> None:
        one, other = self.runtime(0), self.runtime(3)
        source, target = np.zeros(8, np.float32), np.zeros(8, np.float32)
        one.pointer = lambda array: 111 if array is source else 222  # type: ignore[method-assign]
        one.send(other, target, source)
        assert one.xp.asked == [(222, 3, 111, 0, 32, 900)]


class _Current:
    """A device, or a stream, that `with` makes current."""

    def __init__(self, ordinal: int) -> None:
        self.id, self.ptr = ordinal, 900 + ordinal

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
