"""GPUs joined from NVML, the CUDA driver and the system's list, and what about them is unusual."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pynvml
import pytest

from bench.devices.base import Caveat
from bench.devices.environment import FLAGGED_VARIABLES
from bench.devices.nvidia import driver, inventory
from bench.devices.nvidia.fitness import caveats, variables
from bench.devices.nvidia.gpu import Gpu, Inventory
from tests.standins import StandIns
from tests.test_nvml import FIRST, NO_PERMISSION, NOT_SUPPORTED, Step, apply, fail

SECOND_BUS = "0000:2c:00.0"
GIB = 1 << 30
BOTH: list[Step] = [
    ("cuda_standin_gpu", "CUDA's first", "0000:1B:00.0", 132, 79 * GIB),
    ("cuda_standin_gpu", "CUDA's second", "0000:2C:00.0", 78, 95 * GIB),
]
SLICE: Step = ("cuda_standin_gpu", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "0000:1B:00.0", 16, 9 * GIB)


# What follows runs in the process that has the stand-ins.


def prepare(steps: Sequence[Step]) -> None:
    apply([("nvml_standin_reset",), ("cuda_standin_reset",), *steps])


def found(steps: Sequence[Step], pci: Path = Path("/nonexistent")) -> Inventory:
    prepare(steps)
    return inventory.inventory(pci)


def seen(steps: Sequence[Step]) -> Inventory:
    prepare(steps)
    return driver.visible_gpus()


def without(steps: Sequence[Step], *sonames: str, pci: Path = Path("/nonexistent")) -> Inventory:
    """The inventory of a machine on which these libraries cannot be loaded."""
    real = ctypes.CDLL

    def load(name: str) -> ctypes.CDLL:
        if name in sonames:
            message = f"{name}: cannot open shared object file: No such file or directory"
            raise OSError(message)
        return real(name)

    prepare(steps)
    with (
        mock.patch.object(ctypes, "CDLL", load),
        mock.patch.object(pynvml, "CDLL", load),
        mock.patch.object(pynvml, "nvmlLib", None),
        mock.patch.dict(pynvml._nvmlGetFunctionPointer_cache, clear=True),
    ):
        return inventory.inventory(pci)


def system_list(folder: Path, bus_id: str, vendor: str = "0x10de", device: str = "0x2329") -> Path:
    """Write what the system tells of one PCI device, and return the list."""
    (folder / bus_id).mkdir(parents=True)
    (folder / bus_id / "vendor").write_text(f"{vendor}\n", encoding="ascii")
    (folder / bus_id / "device").write_text(f"{device}\n", encoding="ascii")
    return folder


class TestDriver:
    def test_it_tells_what_cuda_programs_get(self, in_standins: StandIns) -> None:
        first, second = in_standins(seen, BOTH).gpus
        assert first == Gpu(
            index=0,
            cuda_index=0,
            name="CUDA's first",
            bus_id="0000:1b:00.0",
            sm_count=132,
            compute_capability="9.0",
            memory_bytes=79 * GIB,
            l2_bytes=52_428_800,
        )
        assert (second.cuda_index, second.bus_id, second.sm_count) == (1, SECOND_BUS, 78)

    @pytest.mark.parametrize(
        ("error", "words"), [(100, "CUDA_VISIBLE_DEVICES"), (802, "fabricmanager"), (999, "unknown error")]
    )
    def test_an_error_is_a_note_with_its_number_and_meaning(
        self, in_standins: StandIns, error: int, words: str
    ) -> None:
        answer = in_standins(seen, [*BOTH, ("cuda_standin_fail", "cuInit", error)])
        (note,) = answer.notes
        assert answer == Inventory(None, 13000, (), (note,))
        assert f"error {error} to cuInit" in note
        assert words in note
        assert "\n" not in note

    @pytest.mark.parametrize(
        "function",
        [
            "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2", "cuDeviceGetAttribute",
            "cuDeviceGetPCIBusId",
        ],
    )  # fmt: skip
    def test_any_function_that_fails_is_a_note(self, in_standins: StandIns, function: str) -> None:
        answer = in_standins(seen, [*BOTH, ("cuda_standin_fail", function, 4242)])
        assert answer.gpus == ()
        assert [f"error 4242 to {function}:" in note for note in answer.notes] == [True]

    def test_a_driver_without_a_function_is_a_note(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
        note = "libcuda.so.1 has no cuInit; update the NVIDIA driver"
        assert driver.visible_gpus() == Inventory(None, None, (), (note,))

    def test_a_mig_instance_is_known_by_its_name(self, in_standins: StandIns) -> None:
        named = ("cuda_standin_gpu", "MIGHTY GPU", "0000:3d:00.0", 1, GIB)
        assert [gpu.mig for gpu in in_standins(seen, [SLICE, named]).gpus] == [True, None]

    @pytest.mark.parametrize(
        ("text", "normal"),
        [
            ("00000000:1B:00.0", "0000:1b:00.0"),
            ("0000:1b:00.0", "0000:1b:00.0"),
            ("1B:00.0", "0000:1b:00.0"),
            ("00010000:C1:1F.3", "10000:c1:1f.3"),
            ("0000:1b:00", "0000:1b:00.0"),
            (" Elsewhere ", "elsewhere"),
        ],
    )
    def test_bus_ids_are_written_as_the_system_does(self, text: str, normal: str) -> None:
        assert driver.normal_bus_id(text) == normal


class TestJoin:
    def test_both_views_of_a_gpu_are_one(self, in_standins: StandIns) -> None:
        answer = in_standins(found, BOTH)
        first, second = answer.gpus
        assert first == FIRST._replace(cuda_index=0, sm_count=132, compute_capability="9.0", l2_bytes=52_428_800)
        assert (second.index, second.cuda_index, second.sm_count) == (1, 1, 78)
        assert (answer.driver, answer.cuda, answer.notes) == ("580.65.06", 13000, ())

    def test_different_orders_are_joined_by_place(self, in_standins: StandIns) -> None:
        gpus = in_standins(found, [*reversed(BOTH)]).gpus
        told = [(gpu.index, gpu.cuda_index, gpu.bus_id, gpu.sm_count) for gpu in gpus]
        assert told == [(0, 1, "0000:1b:00.0", 132), (1, 0, SECOND_BUS, 78)]

    def test_a_gpu_hidden_from_cuda_has_no_cuda_index_and_no_sms(self, in_standins: StandIns) -> None:
        hidden, visible = in_standins(found, BOTH[1:]).gpus
        assert hidden == FIRST
        assert (visible.index, visible.cuda_index, visible.sm_count) == (1, 0, 78)

    def test_all_hidden_is_still_a_list(self, in_standins: StandIns) -> None:
        answer = in_standins(found, [("cuda_standin_fail", "cuInit", 100)])
        assert [gpu.cuda_index for gpu in answer.gpus] == [None, None]
        assert len(answer.notes) == 1

    def test_a_gpu_that_only_cuda_sees_comes_last_under_a_number_of_its_own(self, in_standins: StandIns) -> None:
        third = ("cuda_standin_gpu", "Only CUDA's", "0000:3d:00.0", 20, GIB)
        gpus = in_standins(found, [third, *BOTH]).gpus
        assert [(gpu.index, gpu.cuda_index) for gpu in gpus] == [(0, 1), (1, 2), (2, 0)]
        assert gpus[2].name == "Only CUDA's"

    def test_the_board_has_the_memory_that_nvml_tells_else_what_cuda_gets(self, in_standins: StandIns) -> None:
        assert in_standins(found, BOTH).gpus[0].memory_bytes == FIRST.memory_bytes
        silent = [*BOTH, *fail("nvmlDeviceGetMemoryInfo", NOT_SUPPORTED)]
        assert in_standins(found, silent).gpus[0].memory_bytes == 79 * GIB


class TestMig:
    def test_an_instance_is_what_cuda_gets_of_the_board(self, in_standins: StandIns) -> None:
        first = in_standins(found, [SLICE, ("nvml_standin_set", 0, "mig", 1)]).gpus[0]
        assert (first.mig, first.sm_count, first.memory_bytes) == (True, 16, 9 * GIB)
        assert first.name == "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
        assert first.memory_free_bytes is None, "what is free of the board is not free for the instance"

    def test_its_name_is_enough(self, in_standins: StandIns) -> None:
        silent = fail("nvmlDeviceGetMigMode", NO_PERMISSION)
        assert in_standins(found, [SLICE, *silent]).gpus[0].mig is True

    def test_nvml_saying_so_is_enough(self, in_standins: StandIns) -> None:
        first = in_standins(found, [*BOTH, ("nvml_standin_set", 0, "mig", 1)]).gpus[0]
        assert (first.mig, first.memory_bytes, first.memory_free_bytes) == (True, 79 * GIB, None)

    def test_a_board_with_mig_on_and_no_instance_is_marked(self, in_standins: StandIns) -> None:
        first, second = in_standins(found, [("nvml_standin_set", 0, "mig", 1)]).gpus
        assert (first.mig, first.cuda_index) == (True, None)
        assert second.mig is False

    def test_two_instances_of_a_board_are_two(self, in_standins: StandIns) -> None:
        gpus = in_standins(found, [SLICE, SLICE]).gpus
        assert [(gpu.index, gpu.cuda_index) for gpu in gpus] == [(0, 0), (0, 1), (1, None)]


class TestMissing:
    def test_no_driver_at_all_is_said_first(self, in_standins: StandIns) -> None:
        answer = in_standins(without, BOTH, "libcuda.so.1", "libnvidia-ml.so.1")
        assert (answer.driver, answer.cuda, answer.gpus) == (None, None, ())
        first, nvml_note, cuda_note = answer.notes
        assert first.startswith("no NVIDIA driver answers here")
        assert "error 12 to nvmlInit" in nvml_note
        assert "libcuda.so.1" in cuda_note

    def test_without_nvml_the_driver_and_the_system_tell(self, in_standins: StandIns, tmp_path: Path) -> None:
        pci = system_list(tmp_path, SECOND_BUS)
        answer = in_standins(without, BOTH, "libnvidia-ml.so.1", pci=pci)
        first, second = answer.gpus
        assert (first.index, first.sm_count, first.pci_device_id, first.ecc) == (0, 132, None, None)
        assert (second.index, second.name, second.pci_device_id) == (1, "CUDA's second", "2329")
        assert (answer.driver, answer.cuda, len(answer.notes)) == (None, 13000, 1)

    def test_without_libcuda_nvml_still_tells(self, in_standins: StandIns) -> None:
        answer = in_standins(without, BOTH, "libcuda.so.1")
        assert answer.gpus[0] == FIRST
        assert (answer.driver, answer.cuda, len(answer.notes)) == ("580.65.06", 13000, 1)

    def test_nvml_is_asked_for_the_device_id_before_the_system(
        self, in_standins: StandIns, tmp_path: Path
    ) -> None:
        pci = system_list(tmp_path, FIRST.bus_id)
        assert in_standins(found, BOTH, pci).gpus[0].pci_device_id == "2330"

    @pytest.mark.parametrize(("vendor", "device"), [("0x1002", "0x2329"), ("0x10de", "garbage"), ("", "")])
    def test_what_is_no_id_of_nvidia_is_none(
        self, in_standins: StandIns, tmp_path: Path, vendor: str, device: str
    ) -> None:
        pci = system_list(tmp_path, FIRST.bus_id, vendor, device)
        assert in_standins(without, BOTH, "libnvidia-ml.so.1", pci=pci).gpus[0].pci_device_id is None


class TestFitness:
    def test_a_gpu_as_it_should_be_has_no_caveat(self) -> None:
        assert caveats(FIRST) == []

    def test_what_is_not_known_is_no_caveat(self) -> None:
        assert caveats(Gpu(index=0, name="A GPU", bus_id=FIRST.bus_id)) == []

    @pytest.mark.parametrize(
        ("changes", "code", "values"),
        [
            ({"other_processes": 2}, "gpu_processes", {"count": 2.0}),
            ({"mig": True}, "mig", {}),
            ({"ecc": False}, "ecc_off", {}),
            ({"power_limit_w": 400.0}, "power_limit", {"watts": 400.0, "default": 700.0}),
            ({"power_limit_w": 701.0}, "power_limit", {"watts": 701.0, "default": 700.0}),
            ({"application_clock_hz": 1.2e9}, "application_clocks", {"hz": 1.2e9, "default": 1.98e9}),
            (
                {"pcie_width": 8, "pcie_generation": 3},
                "pcie",
                {"generation": 3.0, "most": 5.0, "width": 8.0, "width_most": 16.0},
            ),
            ({"pcie_width": 8, "pcie_generation": None}, "pcie", {"most": 5.0, "width": 8.0, "width_most": 16.0}),
            ({"temperature_c": 80.0}, "hot", {"celsius": 80.0}),
        ],
    )
    def test_each_oddity_is_one_caveat(
        self, changes: dict[str, Any], code: str, values: dict[str, float | str]
    ) -> None:
        assert caveats(FIRST._replace(**changes)) == [Caveat(code=code, values=values)]

    @pytest.mark.parametrize(
        "changes",
        [
            {"power_limit_w": 699.5},  # a rounding, not a setting
            {"pcie_generation": 1},  # at rest to save power
            {"temperature_c": 79.0},
            {"ecc": None},  # a GPU without it
        ],
    )
    def test_what_is_usual_at_rest_is_none(self, changes: dict[str, Any]) -> None:
        assert caveats(FIRST._replace(**changes)) == []

    def test_several_are_several(self) -> None:
        odd = FIRST._replace(mig=True, ecc=False, temperature_c=90.0)
        assert [caveat.code for caveat in caveats(odd)] == ["mig", "ecc_off", "hot"]

    def test_variables_that_steer_a_gpu_are_caveats(self) -> None:
        assert variables({"NVIDIA_TF32_OVERRIDE": "1", "OMP_NUM_THREADS": "4", "CUPY_TF32": "1"}) == [
            Caveat(code="variable", values={"name": "NVIDIA_TF32_OVERRIDE", "value": "1"}),
            Caveat(code="variable", values={"name": "CUPY_TF32", "value": "1"}),
        ]

    def test_every_flagged_variable_of_a_gpu_is_one_but_the_choice_of_gpus(self) -> None:
        gpu = {name for name in FLAGGED_VARIABLES if name.startswith(("CU", "NVIDIA"))}
        caught = {str(one.values["name"]) for one in variables(dict.fromkeys(FLAGGED_VARIABLES, "1"))}
        assert gpu - caught == {"CUDA_VISIBLE_DEVICES"}
        assert caught <= gpu
