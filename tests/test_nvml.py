"""What NVML tells, its real binding on a scripted stand-in: units, bits, and what is left when it is silent."""

import ast
import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pynvml
import pytest

from bench.devices.nvidia import nvml
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.devices.nvidia.nvml import FAULTS, REASONS, Reading, SensorsLost, open_sensors, reason_names, survey
from tests.standins import SONAMES, StandIns

Step = tuple[str | int, ...]
BUS_ID = "0000:1b:00.0"
NOT_SUPPORTED, NO_PERMISSION, NO_FUNCTION, LOST, UNKNOWN = 3, 4, 13, 15, 999

# What GPU 0 of the stand-in is, written by hand from its milliwatts and megahertz.
FIRST = Gpu(
    index=0,
    name="A stand-in GPU",
    bus_id=BUS_ID,
    pci_device_id="2330",
    uuid="GPU-00000000-0000-0000-0000-000000000000",
    memory_bytes=85_520_809_984,
    memory_free_bytes=84_000_000_000,
    mig=False,
    ecc=True,
    power_limit_w=700.0,
    power_limit_default_w=700.0,
    max_sm_clock_hz=1.98e9,
    application_clock_hz=1.98e9,
    application_clock_default_hz=1.98e9,
    pcie_generation=5,
    pcie_generation_most=5,
    pcie_width=16,
    pcie_width_most=16,
    other_processes=0,
    temperature_c=55.0,
)
READING = Reading(sm_clock_hz=1.755e9, memory_clock_hz=2.619e9, power_w=690.0, temperature_c=55.0, event_reasons=0)

# Which fields fall silent with which function.
FACTS = {
    "nvmlDeviceGetUUID": ("uuid",),
    "nvmlDeviceGetMemoryInfo": ("memory_bytes", "memory_free_bytes"),
    "nvmlDeviceGetMigMode": ("mig",),
    "nvmlDeviceGetEccMode": ("ecc",),
    "nvmlDeviceGetEnforcedPowerLimit": ("power_limit_w",),
    "nvmlDeviceGetPowerManagementDefaultLimit": ("power_limit_default_w",),
    "nvmlDeviceGetMaxClockInfo": ("max_sm_clock_hz",),
    "nvmlDeviceGetApplicationsClock": ("application_clock_hz",),
    "nvmlDeviceGetDefaultApplicationsClock": ("application_clock_default_hz",),
    "nvmlDeviceGetCurrPcieLinkGeneration": ("pcie_generation",),
    "nvmlDeviceGetMaxPcieLinkGeneration": ("pcie_generation_most",),
    "nvmlDeviceGetCurrPcieLinkWidth": ("pcie_width",),
    "nvmlDeviceGetMaxPcieLinkWidth": ("pcie_width_most",),
    "nvmlDeviceGetComputeRunningProcesses_v3": ("other_processes",),
    "nvmlDeviceGetTemperature": ("temperature_c",),
}
SENSORS = {
    "nvmlDeviceGetClockInfo": ("sm_clock_hz", "memory_clock_hz"),
    "nvmlDeviceGetPowerUsage": ("power_w",),
    "nvmlDeviceGetTemperature": ("temperature_c",),
    "nvmlDeviceGetCurrentClocksEventReasons": ("event_reasons",),
}


def apply(steps: Sequence[Step]) -> None:
    """Call the scripting functions of the stand-ins; strings become C strings, numbers 64-bit ones."""
    for name, *arguments in steps:
        library = ctypes.CDLL(SONAMES[str(name).partition("_")[0]])
        values = [one.encode() if isinstance(one, str) else ctypes.c_longlong(one) for one in arguments]
        getattr(library, str(name))(*values)


def put(**fields: int) -> list[Step]:
    """Return the steps that set fields of GPU 0."""
    return [("nvml_standin_set", 0, name, value) for name, value in fields.items()]


def fail(function: str, error: int, after: int = 0) -> list[Step]:
    """Return the step by which `function` fails from its call number `after` on."""
    return [("nvml_standin_fail", function, error, after)]


def prepare(steps: Sequence[Step]) -> None:
    apply([("nvml_standin_reset",), *steps])


def opened(steps: Sequence[Step] = ()) -> nvml.Sensors:
    prepare([])
    sensors = open_sensors(BUS_ID)
    assert sensors is not None
    apply(steps)
    return sensors


def _number(name: str, *arguments: bytes) -> int:
    return int(getattr(ctypes.CDLL(SONAMES["nvml"]), name)(*arguments))


def calls(function: str) -> int:
    return _number("nvml_standin_calls", function.encode())


# What follows runs in the process that has the stand-ins.


def facts(steps: Sequence[Step] = ()) -> Gpu:
    prepare(steps)
    sensors = open_sensors(BUS_ID)
    assert sensors is not None
    return sensors.facts()


def readings(steps: Sequence[Step], count: int) -> list[Reading | str]:
    sensors, found = opened(steps), list[Reading | str]()
    for _ in range(count):
        try:
            found.append(sensors.read())
        except SensorsLost as lost:
            found.append(str(lost))
    return found


def reads_and_calls(steps: Sequence[Step], function: str) -> tuple[list[Reading], int]:
    sensors = opened(steps)
    before = calls(function)
    return [sensors.read() for _ in range(3)], calls(function) - before


def energies(*millijoules: int) -> list[float | None]:
    sensors, found = opened(), list[float | None]()
    for value in millijoules:
        apply(put(energy=value))
        found.append(sensors.energy_j())
    return found


def energy_after(steps: Sequence[Step]) -> float | None:
    return opened(steps).energy_j()


def surveyed(steps: Sequence[Step]) -> tuple[Inventory, int]:
    prepare(steps)
    return survey(), _number("nvml_standin_open")


def bus_ids(steps: Sequence[Step], *asked: str) -> list[str | None]:
    prepare(steps)
    found = [open_sensors(bus_id) for bus_id in asked]
    return [one.bus_id if one else None for one in found]


def left_open(bus_id: str) -> tuple[int, int]:
    prepare([])
    sensors = open_sensors(bus_id)
    with_it = _number("nvml_standin_open")
    if sensors is not None:
        sensors.close()
    return with_it, _number("nvml_standin_open")


def processes(pids: Mapping[int, Sequence[int]], *, own: bool, steps: Sequence[Step] = ()) -> int | None:
    added: list[Step] = [("nvml_standin_process", 0, kind, pid) for kind in pids for pid in pids[kind]]
    if own:
        added.append(("nvml_standin_process", 0, 0, os.getpid()))
    return opened([*added, *steps]).facts().other_processes


class TestUnits:
    def test_facts_are_in_base_units(self, in_standins: StandIns) -> None:
        assert in_standins(facts) == FIRST

    @pytest.mark.parametrize(
        ("field", "value", "name", "expected"),
        [
            ("power_limit", 650_125, "power_limit_w", 650.125),
            ("power_default", 600_500, "power_limit_default_w", 600.5),
            ("max_sm_clock", 1_785, "max_sm_clock_hz", 1.785e9),
            ("application_clock", 1_410, "application_clock_hz", 1.41e9),
            ("application_default", 1_095, "application_clock_default_hz", 1.095e9),
            ("memory_total", 24_000_000_000, "memory_bytes", 24_000_000_000),
            ("memory_free", 23_000_000_000, "memory_free_bytes", 23_000_000_000),
            ("generation", 1, "pcie_generation", 1),
            ("generation_most", 4, "pcie_generation_most", 4),
            ("width", 8, "pcie_width", 8),
            ("width_most", 4, "pcie_width_most", 4),
            ("temperature", 31, "temperature_c", 31.0),
            ("mig", 1, "mig", True),
            ("ecc", 0, "ecc", False),
            ("pci", 0x232910DE, "pci_device_id", "2329"),
            ("pci", 0x00A010DE, "pci_device_id", "00a0"),
            ("pci", 0x23291002, "pci_device_id", None),  # another maker's
        ],
    )
    def test_one_answer_changes_its_own_field_only(
        self, in_standins: StandIns, field: str, value: int, name: str, expected: object
    ) -> None:
        changed: dict[str, Any] = {name: expected}
        assert in_standins(facts, put(**{field: value})) == FIRST._replace(**changed)

    def test_a_reading_is_in_base_units(self, in_standins: StandIns) -> None:
        assert in_standins(readings, [], 1) == [READING]

    def test_zero_is_a_reading(self, in_standins: StandIns) -> None:
        silent = put(sm_clock=0, memory_clock=0, power=0, temperature=0)
        assert in_standins(readings, silent, 1) == [Reading(0.0, 0.0, 0.0, 0.0, 0)]

    def test_energy_is_in_joules_beyond_32_bits(self, in_standins: StandIns) -> None:
        assert in_standins(energies, 1_500, 7_000_000_000_250) == [1.5, 7_000_000_000.25]

    def test_versions_are_the_drivers(self, in_standins: StandIns) -> None:
        found, _ = in_standins(surveyed, [])
        assert (found.driver, found.cuda, found.notes) == ("580.65.06", 13000, ())

    def test_the_domain_has_four_digits_at_least(self, in_standins: StandIns) -> None:
        assert in_standins(facts, []).bus_id == BUS_ID
        moved = put(domain=0x10000, bus=0xC1, device=0x1F)
        assert in_standins(bus_ids, moved, "10000:c1:1f.0", BUS_ID) == ["10000:c1:1f.0", None]


class TestSilence:
    @pytest.mark.parametrize("error", [NOT_SUPPORTED, NO_PERMISSION, UNKNOWN])
    @pytest.mark.parametrize("function", FACTS)
    def test_a_silent_fact_leaves_the_rest(self, in_standins: StandIns, function: str, error: int) -> None:
        silent: dict[str, Any] = dict.fromkeys(FACTS[function])
        assert in_standins(facts, fail(function, error)) == FIRST._replace(**silent)

    def test_every_fact_has_been_silenced_above(self) -> None:
        """Name and place are needed to list a GPU at all; the rest only the CUDA driver tells."""
        elsewhere = {"index", "name", "bus_id", "pci_device_id"}
        known = {name for name, value in FIRST._asdict().items() if value is not None}
        assert known - elsewhere == {name for names in FACTS.values() for name in names}

    @pytest.mark.parametrize("error", [NOT_SUPPORTED, NO_PERMISSION])
    @pytest.mark.parametrize("function", SENSORS)
    def test_a_silent_sensor_leaves_the_rest_and_is_asked_no_more(
        self, in_standins: StandIns, function: str, error: int
    ) -> None:
        found, asked = in_standins(reads_and_calls, fail(function, error), function)
        silent: dict[str, Any] = dict.fromkeys(SENSORS[function])
        assert found == [READING._replace(**silent)] * 3
        assert asked == len(SENSORS[function])

    def test_a_clock_that_is_missing_does_not_silence_the_other(self, in_standins: StandIns) -> None:
        found, asked = in_standins(reads_and_calls, put(sm_clock=-1), "nvmlDeviceGetClockInfo")
        assert found == [READING._replace(sm_clock_hz=None)] * 3
        assert asked == 4  # the missing one once, the other thrice

    def test_no_energy_counter_is_no_energy(self, in_standins: StandIns) -> None:
        assert in_standins(energy_after, fail("nvmlDeviceGetTotalEnergyConsumption", NOT_SUPPORTED)) is None

    @pytest.mark.parametrize("function", ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetTemperature"])
    def test_another_drivers_name_for_a_query_is_tried(self, in_standins: StandIns, function: str) -> None:
        assert (
            in_standins(readings, [*put(reasons=4), *fail(function, NO_FUNCTION)], 2)
            == [READING._replace(event_reasons=4)] * 2
        )

    def test_a_name_that_is_too_long_is_no_name(self, in_standins: StandIns) -> None:
        assert in_standins(facts, [("nvml_standin_name", 0, "x" * 95)]).name == "x" * 95
        assert in_standins(facts, [("nvml_standin_name", 0, "x" * 96)]).name == "NVIDIA GPU without a name"


class TestLost:
    @pytest.mark.parametrize("function", SENSORS)
    def test_an_unknown_error_of_one_sensor_is_its_own(self, in_standins: StandIns, function: str) -> None:
        """Some boards answer so for the power alone; the other sensors are right."""
        (found,) = set(in_standins(readings, fail(function, UNKNOWN), 5))
        assert isinstance(found, Reading)
        assert READING != found != Reading(*(None,) * len(found))

    @pytest.mark.parametrize("error", [1, 9, LOST])
    @pytest.mark.parametrize("function", SENSORS)
    def test_a_gpu_that_is_gone_is_a_loss(self, in_standins: StandIns, function: str, error: int) -> None:
        (line,) = in_standins(readings, fail(function, error), 1)
        assert isinstance(line, str)
        assert BUS_ID not in line  # it may stand in a record
        assert f"error {error} to {function}" in line
        assert "\n" not in line

    def test_it_is_lost_when_it_is_lost_and_not_before(self, in_standins: StandIns) -> None:
        one, two, three = in_standins(readings, fail("nvmlDeviceGetPowerUsage", LOST, after=2), 3)
        assert one == two == READING
        assert "GPU is lost" in str(three)

    def test_a_lost_energy_counter_is_a_loss(self, in_standins: StandIns) -> None:
        with pytest.raises(SensorsLost, match="GPU is lost"):
            in_standins(energy_after, fail("nvmlDeviceGetTotalEnergyConsumption", LOST))

    def test_facts_of_a_lost_gpu_are_none(self, in_standins: StandIns) -> None:
        with pytest.raises(SensorsLost, match="GPU is lost"):
            in_standins(facts, fail("nvmlDeviceGetEccMode", LOST))

    def test_the_other_gpu_is_still_listed(self, in_standins: StandIns) -> None:
        found, _ = in_standins(surveyed, fail("nvmlDeviceGetName", LOST, after=1))
        assert found.gpus == (FIRST,)
        (note,) = found.notes
        assert note.startswith("GPU 0000:2c:00.0: NVML answers error 15")

    @pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetPciInfo_v3"])
    def test_a_gpu_that_cannot_be_placed_is_a_note(self, in_standins: StandIns, function: str) -> None:
        found, _ = in_standins(surveyed, fail(function, LOST, after=1))
        assert found.gpus == (FIRST,)
        assert [note[:31] for note in found.notes] == ["GPU 1: NVML answers error 15 to"]


class TestNotHere:
    @pytest.mark.parametrize(
        ("error", "remedy"), [(9, "load the NVIDIA driver"), (12, "libnvidia-ml.so.1"), (18, "reboot")]
    )
    def test_why_nvml_is_silent_is_said_with_a_remedy(
        self, in_standins: StandIns, error: int, remedy: str
    ) -> None:
        found, _ = in_standins(surveyed, fail("nvmlInitWithFlags", error))
        (note,) = found.notes
        assert found == Inventory(None, None, (), (note,))
        assert f"error {error} " in note
        assert remedy in note

    def test_sensors_of_no_nvml_are_none(self, in_standins: StandIns) -> None:
        assert in_standins(bus_ids, fail("nvmlInitWithFlags", 9), BUS_ID) == [None]

    def test_without_the_binding_the_note_names_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert survey() == Inventory(None, None, (), ("NVML's binding is missing; pip install nvidia-ml-py",))
        assert open_sensors(BUS_ID) is None

    def test_a_count_that_is_refused_is_a_note(self, in_standins: StandIns) -> None:
        found, _ = in_standins(surveyed, fail("nvmlDeviceGetCount_v2", UNKNOWN))
        assert found.gpus == ()
        assert "nvmlDeviceGetCount" in found.notes[0]

    def test_nvml_is_let_go_of(self, in_standins: StandIns) -> None:
        assert in_standins(surveyed, [])[1] == 0
        assert in_standins(left_open, BUS_ID) == (1, 0)
        assert in_standins(left_open, "0000:ff:00.0") == (0, 0)


class TestReasons:
    def test_bits_are_tested_and_not_equality(self) -> None:
        assert reason_names(0x04 | 0x40) == ["sw_power_cap", "hw_thermal_slowdown"]
        assert reason_names(0) == []

    def test_a_bit_of_a_later_driver_is_not_lost(self) -> None:
        assert reason_names(1 << 40 | 1) == ["gpu_idle", "bit_40"]

    def test_names_and_bits_are_the_bindings(self) -> None:
        prefixes = ("nvmlClocksEventReason", "nvmlClocksThrottleReason")
        bits: dict[str, Any] = {
            name.removeprefix(prefix).lower(): getattr(pynvml, name)
            for prefix in prefixes
            for name in dir(pynvml)
            if name.startswith(prefix)
        }
        bits = {"boardlimit": 0x200, "reliability": 0x400} | bits  # bindings before 13.615 lack them
        assert {name: bits[name.replace("_", "")] for name in REASONS} == dict(REASONS)

    def test_the_power_limit_is_no_fault_and_heat_is(self) -> None:
        assert set(FAULTS) <= set(REASONS)
        assert "sw_power_cap" not in FAULTS
        assert "gpu_idle" not in FAULTS
        assert "hw_thermal_slowdown" in FAULTS


class TestProcesses:
    def test_this_process_is_no_other(self, in_standins: StandIns) -> None:
        assert in_standins(processes, {0: [4_000_001]}, own=True) == 1
        assert in_standins(processes, {}, own=True) == 0

    def test_one_that_computes_and_draws_is_one(self, in_standins: StandIns) -> None:
        pids = {0: [4_000_001, 4_000_002], 1: [4_000_002, 4_000_003]}
        assert in_standins(processes, pids, own=True) == 3

    def test_an_unknown_list_of_drawing_ones_leaves_the_computing_ones(self, in_standins: StandIns) -> None:
        steps = fail("nvmlDeviceGetGraphicsRunningProcesses_v3", NOT_SUPPORTED)
        assert in_standins(processes, {0: [4_000_001], 1: [4_000_002]}, own=False, steps=steps) == 1


def test_no_setting_is_ever_changed() -> None:
    tree = ast.parse(Path(nvml.__file__).read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    asked = {name for name in names if name.startswith(("nvmlDevice", "nvmlSystem", "nvmlUnit", "nvmlGpu"))}
    assert len(asked) > 20
    assert all(name.startswith(("nvmlDeviceGet", "nvmlSystemGet")) for name in asked)


def test_error_numbers_are_the_bindings() -> None:
    silent = ("NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND", "DEPRECATED")
    gone = ("UNINITIALIZED", "DRIVER_NOT_LOADED", "GPU_IS_LOST", "RESET_REQUIRED")
    assert {getattr(pynvml, f"NVML_ERROR_{name}") for name in silent} == nvml._SILENT
    assert {getattr(pynvml, f"NVML_ERROR_{name}") for name in gone} == nvml._GONE
