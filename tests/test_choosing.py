"""Which backend `auto` takes, what it says is missing, and what of the machine counts as other work."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.devices import environment
from bench.devices.nvidia import requirements
from bench.errors import BackendUnavailable
from bench.run import choosing
from tests.support import SimulatedBackend, cell, script

CPU_NOTE = "Measuring the CPU through NumPy's BLAS: "


def _here(monkeypatch: pytest.MonkeyPatch, *, driver: int | None, cupy: bool) -> None:
    monkeypatch.setattr(environment, "cuda_driver_version", lambda: driver)
    monkeypatch.setattr(requirements, "has_cupy", lambda: cupy)


LACKING = [
    (None, False, "no NVIDIA driver answers here. On a machine with an NVIDIA GPU: pip install -e '.[cuda13]'"),
    (None, True, "no NVIDIA driver answers here; install one, or run this where a GPU is"),
    (13000, False, "there is an NVIDIA driver but no CuPy. To measure the GPU: pip install -e '.[cuda13]'"),
    (12080, False, "there is an NVIDIA driver but no CuPy. To measure the GPU: pip install -e '.[cuda12]'"),
    (11040, True, "the NVIDIA driver runs CUDA 11.4, and CuPy needs 12 or newer; update the driver"),
]


@pytest.mark.parametrize(("driver", "cupy", "said"), LACKING)
def test_without_all_that_a_gpu_needs_auto_takes_the_cpu_and_says_why(
    monkeypatch: pytest.MonkeyPatch, driver: int | None, cupy: bool, said: str
) -> None:
    _here(monkeypatch, driver=driver, cupy=cupy)
    choice = choosing.choose("auto")
    assert choice.backend.name == "cpu"
    assert choice.note == CPU_NOTE + said


@pytest.mark.parametrize(("driver", "cupy", "said"), LACKING)
def test_who_asks_for_the_gpu_by_name_gets_it_or_an_error(
    monkeypatch: pytest.MonkeyPatch, driver: int | None, cupy: bool, said: str
) -> None:
    _here(monkeypatch, driver=driver, cupy=cupy)
    with pytest.raises(BackendUnavailable, match=re.escape(said)):
        choosing.choose("cuda")


def test_a_gpu_that_can_be_measured_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = SimulatedBackend({cell(): script()})
    monkeypatch.setattr(choosing, "open_backend", {"cuda": opened}.__getitem__)
    assert choosing.choose("auto") == (opened, None)


def test_a_backend_asked_for_by_name_needs_no_explaining() -> None:
    assert choosing.choose("cpu").note is None


@pytest.mark.parametrize(
    ("runtime", "driver", "said"),
    [
        (13050, 13000, None),  # within a line a driver runs newer toolkits
        (12090, 13000, None),
        (12090, 12020, None),
        (13000, 12080, "pip uninstall -y cupy-cuda13x && pip install -e '.[cuda12]'"),
    ],
)
def test_a_cupy_of_a_newer_line_than_the_driver_is_to_be_replaced(
    runtime: int, driver: int, said: str | None
) -> None:
    found = requirements.mismatch(runtime, driver)
    assert (found is None) == (said is None)
    assert (said or "") in (found or "")


@pytest.mark.parametrize(
    ("runtime", "capability", "fits"),
    [(13000, (7, 0), False), (12080, (7, 0), True), (13000, (7, 5), True), (13000, (9, 0), True)],
)
def test_cuda_13_does_not_serve_volta(runtime: int, capability: tuple[int, int], fits: bool) -> None:
    found = requirements.outdated_chip(runtime, capability)
    assert (found is None) == fits
    assert found is None or "pip install -e '.[cuda12]'" in found


def test_a_driver_that_answers_nonsense_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoDriver:
        def cuDriverGetVersion(self, _version: object) -> int:  # noqa: N802 - the driver's own name
            return 999

    monkeypatch.setattr("bench.devices.environment.ctypes.CDLL", lambda _name: NoDriver())
    assert environment.cuda_driver_version() is None


def _ticks(monkeypatch: pytest.MonkeyPatch, *, busy: int, total: int, own_s: float, cores: int) -> None:
    """Let one second pass in which `busy` of `total` ticks were used, `own_s` seconds of them by ourselves."""

    def after(first: float, second: float) -> Iterator[float]:
        yield from (first, second)

    states = iter([environment._Ticks(idle=0, total=0), environment._Ticks(idle=total - busy, total=total)])
    own, clock = after(0.0, own_s), after(0.0, 1.0)
    monkeypatch.setattr(environment, "_processor_ticks", lambda: next(states))
    monkeypatch.setattr("bench.devices.environment.time.process_time", lambda: next(own))
    monkeypatch.setattr("bench.devices.environment.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("bench.devices.environment.time.sleep", lambda _seconds: None)
    monkeypatch.setattr("bench.devices.environment.os.cpu_count", lambda: cores)


def test_other_work_is_what_is_busy_and_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    _ticks(monkeypatch, busy=50, total=200, own_s=0.25, cores=2)
    assert environment.busy_share() == pytest.approx(50 / 200 - 0.25 / 2)


def test_our_own_spinning_threads_are_not_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    _ticks(monkeypatch, busy=100, total=200, own_s=1.02, cores=2)
    assert environment.busy_share() == 0.0


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("AMD EPYC", "amd-epyc"),
        ("Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz", "intel-xeon-platinum-8480"),
        ("  ", "unknown"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_a_model_makes_a_safe_folder_name(name: str, folder: str) -> None:
    assert environment.slug(name) == folder


MAPS = """\
7f00-7f10 r-xp 00000000 08:01 11   /home/somebody/env/site-packages/nvidia/cublas/lib/libcublas.so.13
7f10-7f20 r--p 00010000 08:01 11   /home/somebody/env/site-packages/nvidia/cublas/lib/libcublas.so.13
7f20-7f30 r-xp 00000000 08:01 12   /usr/local/cuda/lib64/libcublasLt.so.13.1
7f30-7f40 r-xp 00000000 08:01 13   /home/somebody/my own/libcublasLt.so.12
7f40-7f50 r-xp 00000000 08:01 14   /home/somebody/libsecret.so.1
7f50-7f60 rw-p 00000000 00:00 0    [heap]
7f60-7f70 rw-p 00000000 00:00 0
7f70-7f80 r-xp 00000000 08:01 15   /rooted.so
"""


class TestLoadedLibraries:
    @pytest.fixture(autouse=True)
    def maps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "read_text", lambda *_args, **_more: MAPS)

    def test_those_asked_for_are_told_without_what_names_a_user_and_two_copies_both(self) -> None:
        assert environment.loaded_libraries("libcublas", "libcublasLt", "libnvrtc") == {
            "libcublas": "site-packages/nvidia/cublas/lib/libcublas.so.13",
            "libcublasLt": "libcublasLt.so.12, /usr/local/cuda/lib64/libcublasLt.so.13.1",
        }

    @pytest.mark.parametrize(
        "folder", ["/lib-of-somebody", "/libraries/somebody", "/opt/somebody", "/usr/local/home/b"]
    )
    def test_a_folder_that_is_not_the_systems_is_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, folder: str
    ) -> None:
        line = f"7f00-7f10 r-xp 00000000 08:01 11   {folder}/libcublas.so.13\n"
        monkeypatch.setattr(Path, "read_text", lambda *_args, **_more: line)
        assert environment.loaded_libraries("libcublas") == {"libcublas": "libcublas.so.13"}

    def test_one_at_the_root_is_one_too(self) -> None:
        assert environment.loaded_libraries("rooted") == {"rooted": "rooted.so"}

    def test_a_system_that_does_not_say_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuses(*_args: object, **_more: object) -> str:
            raise PermissionError

        monkeypatch.setattr(Path, "read_text", refuses)
        assert environment.loaded_libraries("libcublas") == {}
