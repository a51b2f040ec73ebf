"""`chipbench devices` as people and programs meet it, on simulated machines."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.cli.options import FORMAT_NAMES
from bench.devices.base import Caveat
from bench.devices.nvidia import presence as devices
from bench.devices.nvidia.gpu import Gpu, Inventory
from bench.published.chips import read_chip
from bench.report.wording import WORDING, sentence

MIB = 2**20
UUID = "GPU-6d31a9c2-7f4e-11ee-b962-0242ac120002"
H100 = Gpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    bus_id="0000:1b:00.0",
    cuda_index=0,
    pci_device_id="2330",
    uuid=UUID,
    sm_count=132,
    compute_capability="9.0",
    memory_bytes=81559 * MIB,
    memory_free_bytes=81000 * MIB,
    l2_bytes=50 * MIB,
    mig=False,
    ecc=True,
    power_limit_w=700.0,
    power_limit_default_w=700.0,
    max_sm_clock_hz=1.98e9,
    pcie_generation=5,
    pcie_generation_most=5,
    pcie_width=16,
    pcie_width_most=16,
    other_processes=0,
    temperature_c=34.0,
)
H20 = H100._replace(
    index=1,
    name="NVIDIA H20",
    bus_id="0000:43:00.0",
    cuda_index=1,
    pci_device_id="2329",
    sm_count=78,
    memory_bytes=97871 * MIB,
    l2_bytes=60 * MIB,
    power_limit_w=300.0,
    power_limit_default_w=500.0,
    other_processes=2,
)
GEFORCE = Gpu(
    index=0,
    name="NVIDIA GeForce RTX 4070",
    bus_id="0000:01:00.0",
    cuda_index=0,
    pci_device_id="2786",
    sm_count=46,
    compute_capability="8.9",
    memory_bytes=12282 * MIB,
    l2_bytes=36 * MIB,
    power_limit_w=200.0,
    power_limit_default_w=200.0,
    pcie_width=8,
    pcie_width_most=16,
    other_processes=1,
)
SLICE = H100._replace(name="NVIDIA H100 80GB HBM3 MIG 3g.40gb", sm_count=60, memory_bytes=40448 * MIB, mig=True)
HIDDEN = H100._replace(cuda_index=None, sm_count=None, compute_capability=None)
NONE = Inventory(None, None, (), ("no NVIDIA driver answers here; install one, or run this where a GPU is",))
ALL_INSTALLED = {
    "cupy-cuda13x": "14.0.1",
    "nvidia-cublas": "13.2.0.9",
    "nvmath-python": "0.9.0",
    "ml-dtypes": "0.5.1",
}


def _here(*gpus: Gpu, cuda: int = 13000, notes: tuple[str, ...] = ()) -> Inventory:
    return Inventory("580.65.06", cuda, gpus, notes)


MACHINES = {
    "healthy": _here(H100),
    "node": _here(H100, H20, *(H100._replace(index=n, cuda_index=n, bus_id=f"0000:{n}0:00.0") for n in (2, 3))),
    "mig": _here(SLICE),
    "unknown": _here(GEFORCE, cuda=12080),
    "hidden": _here(HIDDEN, H100._replace(index=1, cuda_index=0, bus_id="0000:43:00.0")),
    "none": NONE,
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes this machine another one."""

    def make(
        found: Inventory, *, installed: Mapping[str, str] = ALL_INSTALLED, flagged: Mapping[str, str] | None = None
    ) -> None:
        def version(name: str) -> str:
            if name not in installed:
                raise PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(devices, "inventory", lambda: found)
        monkeypatch.setattr(devices, "flagged_variables", lambda: dict(flagged or {}))
        monkeypatch.setattr(devices, "version", version)

    return make


def _devices(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["devices", *map(str, args)], prog_name="chipbench")


def _ok(*args: str | Path) -> str:
    result = _devices(*args)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def _gpus(*args: str | Path) -> list[dict[str, Any]]:
    gpus: list[dict[str, Any]] = json.loads(_ok(*args, "--format", "json"))["gpus"]
    return gpus


@pytest.mark.parametrize(
    ("name", "installed", "flagged"),
    [
        ("healthy", ALL_INSTALLED, {}),
        ("node", ALL_INSTALLED, {"NVIDIA_TF32_OVERRIDE": "0"}),
        ("mig", ALL_INSTALLED, {}),
        ("unknown", {"cupy-cuda12x": "14.0.1"}, {}),
        ("hidden", ALL_INSTALLED, {"CUDA_VISIBLE_DEVICES": "set"}),
        ("none", {}, {"OPENBLAS_CORETYPE": "Haswell"}),
    ],
)
def test_it_reads_as_designed(
    machine: Callable[..., None],
    golden: Callable[[str, str], None],
    name: str,
    installed: Mapping[str, str],
    flagged: Mapping[str, str],
) -> None:
    machine(MACHINES[name], installed=installed, flagged=flagged)
    golden(f"devices-{name}.txt", _ok())


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("format_name", FORMAT_NAMES)
def test_no_format_tells_which_very_board_it_is(machine: Callable[..., None], name: str, format_name: str) -> None:
    machine(MACHINES[name])
    text = _ok("--format", format_name)
    assert UUID not in text
    assert UUID[4:12] not in text
    assert "uuid" not in text.lower()


def test_json_is_in_base_units_and_says_why(machine: Callable[..., None]) -> None:
    machine(MACHINES["node"])
    document = json.loads(_ok("--format", "json"))
    assert (document["schema"], document["driver"], document["cuda"]) == (1, "580.65.06", "13.0")
    assert document["installed"] == ALL_INSTALLED
    assert (document["missing"], document["pip_line"]) == ([], None)
    h100, h20 = document["gpus"][:2]
    assert (h100["chip"], h100["identified_by"]) == ("h100-sxm5-80gb", "PCI id 2330, 132 SM, 85.5 GB")
    assert (h100["fit"], h100["caveats"]) == (True, [])
    assert (h20["memory_bytes"], h20["power_limit_w"], h20["l2_bytes"]) == (97871 * MIB, 300.0, 60 * MIB)
    assert h20["fit"] is False
    by_code = {caveat["code"]: caveat for caveat in h20["caveats"]}
    assert set(by_code) == {"power_limit", "gpu_processes"}
    assert by_code["power_limit"]["values"] == {"watts": 300.0, "default": 500.0}
    assert "nvidia-smi -pl 500" in by_code["power_limit"]["text"]


def test_csv_has_a_row_a_gpu_and_agrees_with_json(machine: Callable[..., None]) -> None:
    machine(MACHINES["node"])
    rows = list(csv.DictReader(io.StringIO(_ok("--format", "csv"))))
    gpus = _gpus()
    assert [row["chip"] for row in rows] == [gpu["chip"] for gpu in gpus]
    assert [int(row["memory_bytes"]) for row in rows] == [gpu["memory_bytes"] for gpu in gpus]
    assert rows[1]["caveats"] == "gpu_processes power_limit"


@pytest.mark.parametrize(
    ("gpu", "because"),
    [
        (SLICE, "a MIG slice is not the whole chip"),
        (HIDDEN, "PCI id 2330 is h100-sxm5-80gb, but the device does not tell its SM count"),
        (GEFORCE, "PCI id 2786 is no chip here"),
        (H20._replace(name="NVIDIA H200"), None),
    ],
)
def test_what_is_not_known_for_certain_is_unknown_and_says_why(
    machine: Callable[..., None], gpu: Gpu, because: str | None
) -> None:
    machine(_here(gpu))
    (found,) = _gpus()
    assert found["unknown_because"] == because
    assert (found["chip"] is None) == (because is not None)


@pytest.mark.parametrize(
    ("changed", "code", "fit"),
    [
        ({"other_processes": 1}, "gpu_processes", False),
        ({"mig": True}, "mig", False),
        ({"power_limit_w": 500.0}, "power_limit", False),
        ({"application_clock_hz": 1.2e9, "application_clock_default_hz": 1.98e9}, "application_clocks", False),
        ({"temperature_c": 91.0}, "hot", False),
        ({"cuda_index": None}, "hidden", False),
        ({"ecc": False}, "ecc_off", True),
        ({"pcie_width": 4}, "pcie", True),
    ],
)
def test_each_thing_that_bends_a_rate_makes_it_unfit_alone_and_the_others_are_only_said(
    machine: Callable[..., None], changed: dict[str, Any], code: str, fit: bool
) -> None:
    machine(_here(H100._replace(**changed)))
    (found,) = _gpus()
    assert found["fit"] is fit
    assert [caveat["code"] for caveat in found["caveats"]] == [code]
    text = " ".join(_ok().split())
    assert ("next: chipbench run" in text) is fit
    assert ("gpu 0: not fit to measure: " in text) is not fit
    assert sentence(Caveat(**{name: found["caveats"][0][name] for name in ("code", "values")})) in text


@pytest.mark.parametrize(
    "caveat",
    [
        Caveat(code="gpu_processes", values={"count": 1.0}),
        Caveat(code="gpu_processes", values={"count": 3.0}),
        Caveat(code="mig"),
        Caveat(code="ecc_off"),
        Caveat(code="power_limit", values={"watts": 300.0, "default": 500.0}),
        Caveat(code="application_clocks", values={"hz": 1.2e9, "default": 1.98e9}),
        Caveat(code="pcie", values={"width": 4.0, "width_most": 16.0}),
        Caveat(code="hot", values={"celsius": 91.0}),
        Caveat(code="hidden"),
        Caveat(code="hidden", values={"variable": "CUDA_VISIBLE_DEVICES"}),
    ],
    ids=lambda caveat: caveat.code,
)
def test_every_warning_is_a_sentence_with_its_numbers(caveat: Caveat) -> None:
    assert caveat.code in WORDING
    text = sentence(caveat)
    assert not text.startswith("warning "), "the sentence could not be made of these values"
    numbers = {"count": "3", "watts": "300", "default": "500", "celsius": "91", "width": "4", "width_most": "16"}
    if caveat.code != "application_clocks" and caveat.values.get("count") != 1.0:
        assert all(numbers[name] in text for name in caveat.values if name in numbers)


def test_a_variable_that_steers_the_library_makes_every_gpu_unfit(machine: Callable[..., None]) -> None:
    machine(_here(H100), flagged={"NVIDIA_TF32_OVERRIDE": "0"})
    assert [gpu["fit"] for gpu in _gpus()] == [False]
    machine(_here(H100), flagged={"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "set"})
    assert [gpu["fit"] for gpu in _gpus()] == [True]


@pytest.mark.parametrize(
    ("installed", "cuda", "said"),
    [
        ({}, 13000, "not installed: CuPy, nvmath, ml-dtypes; to measure a GPU: pip install -e '.[cuda13]'"),
        ({}, 12080, "not installed: CuPy, nvmath, ml-dtypes; to measure a GPU: pip install -e '.[cuda12]'"),
        (
            {"cupy-cuda12x": "14.0", "nvidia-cublas-cu12": "12.9"},
            12080,
            "not installed: nvmath, ml-dtypes; to measure a GPU: pip install -e '.[cuda12]'",
        ),
    ],
)
def test_what_is_missing_has_its_pip_line_by_what_the_driver_runs(
    machine: Callable[..., None], installed: Mapping[str, str], cuda: int, said: str
) -> None:
    machine(_here(H100, cuda=cuda), installed=installed)
    text = _ok()
    assert said in text
    assert "next:" not in text


def test_a_cupy_that_is_too_new_for_the_driver_is_said_before_anything_fails(machine: Callable[..., None]) -> None:
    machine(_here(H100, cuda=12080))
    text = " ".join(_ok().split())
    assert "the CuPy here is of CUDA 13, and the driver runs CUDA 12.8: pip uninstall -y cupy-cuda13x" in text
    assert "next:" not in text
    machine(_here(H100, cuda=13010))
    assert json.loads(_ok("--format", "json"))["mismatch"] is None


def test_a_volta_is_for_cuda_12_whatever_the_driver_runs(machine: Callable[..., None]) -> None:
    volta = H100._replace(compute_capability="7.0", pci_device_id="1db1")
    machine(_here(volta, cuda=13000), installed={})
    assert "pip install -e '.[cuda12]'" in " ".join(_ok().split())
    machine(_here(volta, cuda=13000))  # with a CuPy of CUDA 13
    text = " ".join(_ok().split())
    assert "CUDA 13 does not run on compute capability 7.0" in text
    assert "next: chipbench run" not in text


def test_without_a_gpu_it_is_an_answer_and_no_error(machine: Callable[..., None]) -> None:
    machine(NONE)
    result = _devices("--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert (document["driver"], document["cuda"], document["gpus"]) == (None, None, [])
    assert "no NVIDIA driver answers here" in _ok()


def test_one_gpu_of_several_can_be_asked_for(machine: Callable[..., None]) -> None:
    machine(MACHINES["node"])
    assert [gpu["index"] for gpu in _gpus("--gpu", "1")] == [1]


def test_the_template_is_all_of_stdout_and_makes_the_gpu_known(
    machine: Callable[..., None], tmp_path: Path
) -> None:
    """The way that a note of the table shows: print, save, name the folder, and the chip is known."""
    machine(_here(GEFORCE))
    assert "chipbench devices --template > my-specs/chips/nvidia-geforce-rtx-4070.toml" in _ok().splitlines()
    path = tmp_path / "chips" / "nvidia-geforce-rtx-4070.toml"
    path.parent.mkdir()
    path.write_text(_ok("--template"), encoding="utf-8")
    assert read_chip(path).id == "nvidia-geforce-rtx-4070"
    (found,) = _gpus("--specs-dir", tmp_path)
    assert (found["chip"], found["unknown_because"]) == ("nvidia-geforce-rtx-4070", None)
    assert "to make it a known chip" not in _ok("--specs-dir", tmp_path)


def test_many_unknown_gpus_of_one_kind_have_one_template(machine: Callable[..., None]) -> None:
    machine(_here(*(GEFORCE._replace(index=n, cuda_index=n) for n in range(8))))
    lines = [line for line in _ok().splitlines() if "--template" in line]
    assert lines == ["chipbench devices --gpu 0 --template > my-specs/chips/nvidia-geforce-rtx-4070.toml"]


def test_the_template_of_a_known_chip_has_its_id(machine: Callable[..., None]) -> None:
    machine(MACHINES["node"])
    assert 'id = "h20-96gb"\n' in _ok("--template", "--gpu", "1")


@pytest.mark.parametrize(
    ("name", "args", "exit_code", "said"),
    [
        ("none", ["--template"], 5, "no GPU here: no NVIDIA driver answers; 'nvidia-smi' must list it first"),
        ("none", ["--gpu", "0"], 5, "no GPU here: no NVIDIA driver answers; 'nvidia-smi' must list it first"),
        ("node", ["--gpu", "7"], 2, "no GPU 7 here; there are: 0, 1, 2, 3"),
        ("node", ["--template"], 2, "a template is of one GPU, and there are 0, 1, 2, 3; choose with --gpu"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    machine: Callable[..., None], name: str, args: list[str], exit_code: int, said: str
) -> None:
    machine(MACHINES[name])
    result = _devices(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", f"chipbench: {said}\n")


def test_here_it_answers_without_an_error() -> None:
    """Whatever this machine is: no GPU and no driver is a state to describe."""
    assert json.loads(_ok("--format", "json"))["schema"] == 1
