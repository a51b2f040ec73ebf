"""The comparison beside peers: who runs when, what the rounds' ratios say, and that a peer's gap costs a line."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.devices.cuda import CudaBackend
from bench.stats import median_interval
from bench.workloads import gemm
from tests.benchmarks import peers
from tests.benchmarks.rounds import (
    GOAL,
    OURS,
    Contender,
    Series,
    Timing,
    compete,
    exit_code,
    orders,
    round_ratios,
    rows_of,
    table,
    verdict,
)
from tests.standins import StandIns
from tests.support import FAILED, PASSED, TINY
from tests.test_cuda_standins import BLACKWELL, HostTimed

SCRIPT = str(Path(peers.__file__))


class Lab:
    """Contenders whose calls take made-up seconds, and a log of who ran how many calls."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.spent = 0.0

    def contender(self, name: str, seconds: Callable[[float], float], *, fails_at: int | None = None) -> Contender:
        """Return one whose call takes `seconds` of the time that has passed, and that may fail at a block."""
        count = 0

        def block(calls: int) -> Timing:
            nonlocal count
            count += 1
            if count == fails_at:
                raise RuntimeError("out of luck\nand more")
            took = seconds(self.spent)
            self.log.append((name, calls))
            self.spent += calls * took
            return Timing(took, 1.5e9)

        return Contender(name, block, lambda: PASSED)

    def steady(self, **seconds: float) -> list[Contender]:
        return [self.contender(name, lambda _now, took=took: took) for name, took in seconds.items()]  # type: ignore[misc]


def series(name: str, seconds: Sequence[float], *, right: bool = True) -> Series:
    return Series(name, [Timing(value) for value in seconds], PASSED if right else FAILED)


class TestOrder:
    @pytest.mark.parametrize("contenders", [1, 2, 5, 7])
    @pytest.mark.parametrize("rounds", [6, 10, 21])
    def test_each_goes_first_equally_often(self, contenders: int, rounds: int) -> None:
        found = [*orders(contenders, rounds)]
        assert rounds <= len(found) < rounds + contenders
        assert set(Counter(order[0] for order in found).values()) == {len(found) // contenders}
        assert all(sorted(order) == [*range(contenders)] for order in found)

    def test_nobody_always_follows_the_same_one(self) -> None:
        found = [pair for order in orders(5, 10) for pair in pairwise(order)]
        assert {before for before, after in found if after == 2} == {1, 3}

    def test_blocks_of_all_last_alike_however_long_a_call_is(self) -> None:
        lab = Lab()
        compete(lab.steady(chipbench=1e-3, fast=1e-5, slow=0.05), rounds=6, block_s=0.2, warm_up_s=3.0)
        assert dict(lab.log[-3:]) == {"chipbench": 200, "fast": 20_000, "slow": 4}

    def test_rounds_come_after_the_whole_warm_up(self) -> None:
        lab = Lab()
        found = compete(lab.steady(chipbench=1e-3, other=1e-3), rounds=6, block_s=0.2, warm_up_s=3.0)
        assert [len(one.blocks) for one in found] == [6, 6]
        warming = lab.log[: -2 * 6]
        assert sum(calls * 1e-3 for _, calls in warming) >= 3.0


class TestRatios:
    def test_what_drifts_for_both_cancels(self) -> None:
        """The chip slows down by a third over the rounds; the medians of both move, their ratio does not."""
        lab = Lab()

        def drifting(factor: float) -> Callable[[float], float]:
            return lambda now: factor * 1e-3 * (1 + now / 15)

        contenders = [lab.contender(OURS, drifting(1.0)), lab.contender("other", drifting(1.05))]
        found = compete(contenders, rounds=12, block_s=0.2, warm_up_s=0.0)
        values = [timing.seconds for timing in found[0].blocks if timing]
        assert max(values) / min(values) > 1.2
        # Half of a block's time is the other's, so that a little of the drift is left, to either side in turns.
        assert rows_of(found)[1].ratio == pytest.approx(1.05, rel=0.003)

    def test_a_ratio_is_of_the_rates_in_the_same_round(self) -> None:
        ours, other = series(OURS, [1.0, 2.0, 4.0]), series("other", [2.0, 2.0, 2.0])
        assert round_ratios(ours, other) == [2.0, 1.0, 0.5]

    def test_the_figure_is_the_median_of_ratios_with_its_interval(self) -> None:
        ours = series(OURS, [1.0] * 9)
        other = series("other", [1.01, 1.03, 0.99, 1.0, 1.02, 1.04, 0.98, 1.05, 1.06])
        row = rows_of([ours, other])[1]
        assert row.ratio == 1.02
        assert row.interval == median_interval([1.01, 1.03, 0.99, 1.0, 1.02, 1.04, 0.98, 1.05, 1.06])
        assert row.interval is not None
        assert row.interval.lo < 1.02 < row.interval.hi

    def test_a_round_that_one_of_them_lacks_is_no_ratio(self) -> None:
        ours = series(OURS, [1.0, 1.0, 1.0])
        other = Series("other", [Timing(2.0), None, Timing(3.0)], PASSED)
        assert round_ratios(ours, other) == [2.0, 3.0]

    def test_cycles_are_of_each_block_by_its_own_clock(self) -> None:
        one = Series("other", [Timing(1e-3, 1.0e9), Timing(0.5e-3, 2.0e9), Timing(2e-3, 0.5e9)], PASSED)
        row = rows_of([series(OURS, [1e-3] * 3), one])[1]
        assert row.cycles == pytest.approx(1e6)
        assert row.clock_hz == 1.0e9


class TestVerdict:
    @pytest.mark.parametrize(("seconds", "code"), [(1.0, 0), (GOAL + 1e-6, 0), (GOAL - 1e-3, 1)])
    def test_the_goal_is_a_share_of_the_best_peers_rate(self, seconds: float, code: int) -> None:
        rows = rows_of([series(OURS, [1.0] * 6), series("slow", [3.0] * 6), series("best", [seconds] * 6)])
        said = verdict(rows)
        assert "best peer: best" in said.text
        assert exit_code([said]) == code

    def test_a_wrong_product_is_no_peer(self) -> None:
        rows = rows_of([series(OURS, [1.0] * 6), series("wrong", [0.1] * 6, right=False), series("x", [1.0] * 6)])
        assert "best peer: x" in verdict(rows).text

    def test_a_wrong_product_of_ours_reaches_nothing(self) -> None:
        rows = rows_of([series(OURS, [0.1] * 6, right=False), series("x", [1.0] * 6)])
        assert verdict(rows).reached is False

    def test_one_miss_among_several_is_a_miss_and_no_peer_at_all_is_no_success(self) -> None:
        good = verdict(rows_of([series(OURS, [1.0] * 6), series("x", [1.0] * 6)]))
        bad = verdict(rows_of([series(OURS, [1.0] * 6), series("x", [0.9] * 6)]))
        alone = verdict(rows_of([series(OURS, [1.0] * 6)]))
        assert [exit_code(said) for said in ([good], [good, bad], [alone], [good, alone])] == [0, 1, 1, 0]


class TestGaps:
    @pytest.mark.parametrize("fails_at", [1, 2, 8])
    def test_a_contender_that_fails_is_a_line_and_the_others_go_on(self, fails_at: int) -> None:
        lab = Lab()
        contenders = lab.steady(chipbench=1e-3, other=1.1e-3)
        contenders.insert(1, lab.contender("broken", lambda _now: 1e-3, fails_at=fails_at))
        found = compete(contenders, rounds=9, warm_up_s=0.5)
        rows = rows_of(found)
        assert [row.name for row in rows] == [OURS, "broken", "other"]
        assert rows[1].reason == "RuntimeError: out of luck and more"
        assert rows[2].ratio == pytest.approx(1.1)
        assert "best peer: other" in verdict(rows).text
        (line,) = [line for line in table(rows, flop=1000, unit="FLOP/s").splitlines() if "broken" in line]
        assert "out of luck" in line

    def test_a_check_that_fails_to_run_is_a_reason_too(self) -> None:
        def check() -> None:
            raise ValueError("no memory for it")

        one = Contender("x", lambda _calls: Timing(1e-3), check)  # type: ignore[arg-type]
        (found,) = compete([one], rounds=6, warm_up_s=0.1)
        assert (found.check, found.reason) == (None, "ValueError: no memory for it")

    def test_a_clock_that_stands_still_drops_out(self) -> None:
        (found,) = compete([Contender("x", lambda _calls: Timing(0.0), lambda: PASSED)], rounds=6)
        assert found.reason == "its clock says that a call took 0.0 s"

    def test_one_that_is_missing_stands_in_the_table_with_its_reason(self) -> None:
        rows = rows_of([series(OURS, [1e-3] * 6), Series("torch", reason="No module named 'torch'")])
        text = table(rows, flop=10**12, unit="FLOP/s")
        assert "No module named 'torch'" in text
        assert "1.000 PFLOP/s" in text
        assert verdict(rows).reached is None


def of_standins() -> tuple[list[str | None], str, int]:
    """Compare on host memory, with the computing stand-in for cublasLt, and a library that is not installed."""
    backend = CudaBackend(HostTimed(BLACKWELL), None)
    (cell,) = gemm.cells(["fp64"], [gemm.square(64)], library="cublaslt", l2="rotate")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bench.measure.policy.Policy", lambda **_options: TINY)
        patched.setattr(peers, "compete", partial(compete, block_s=1e-3, warm_up_s=1e-3))
        patched.setitem(sys.modules, "torch", None)
        found = peers.compared(backend, cell, 6)
    rows = rows_of(found)
    ran = [row.name for row in rows if row.counts]
    reasons = {row.name: row.reason for row in rows}
    return [*ran], str(reasons["torch"]), len(found[0].blocks)


def test_on_the_same_buffers_the_bare_loop_and_the_arrays_own_product_are_right(in_standins: StandIns) -> None:
    ran, torch, rounds = in_standins(of_standins)
    assert ran[:3] == [OURS, "bare cublasLt loop", "cupy.matmul"]
    assert torch.startswith("ModuleNotFoundError")
    assert rounds >= 6


class TestCommand:
    def test_help_needs_neither_a_gpu_nor_the_libraries(self) -> None:
        code = (
            "import sys, runpy\nfor name in ('torch', 'cupy', 'nvmath'):\n    sys.modules[name] = None\n"
            f"sys.argv = ['peers.py', '--help']\nrunpy.run_path({SCRIPT!r}, run_name='__main__')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "--rounds" in done.stdout

    def test_importing_it_loads_no_gpu_library(self) -> None:
        code = "import sys, tests.benchmarks.peers, tests.benchmarks.contenders\nprint(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not {"torch", "cupy", "nvmath"} & {*done.stdout.split()}

    def test_without_a_gpu_it_ends_with_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.devices.environment.cuda_driver_version", lambda: None)
        result = CliRunner().invoke(peers.main, ["--size", "64"])
        assert result.exit_code == 5
        (line,) = result.stderr.splitlines()
        assert line.startswith("peers: no NVIDIA driver answers here")

    def test_what_it_prints_and_keeps_is_the_same_comparison(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made = [series(OURS, [1.0] * 6), series("x", [0.5] * 6)]
        monkeypatch.setattr("bench.devices.cuda.open_backend", lambda: CudaBackend(HostTimed(BLACKWELL), None))
        monkeypatch.setattr(peers, "compared", lambda *_arguments: made)
        monkeypatch.setattr(peers, "surroundings", lambda _backend: {"versions": {}})
        path = tmp_path / "peers.json"
        command = ["--size", "64", "--dtype", "bf16", "--json", str(path)]
        result = CliRunner().invoke(peers.main, command)
        assert result.exit_code == 1, result.stderr
        assert "best peer: x; chipbench runs at 0.5000× its rate, below the goal" in result.stdout
        (kept,) = json.loads(path.read_text())["comparisons"]
        assert kept["reached"] is False
        assert [len(one["blocks"]) for one in kept["contenders"]] == [6, 6]
