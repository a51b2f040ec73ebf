"""What is written of a machine does not tell whose it is: real records, and what is made of them, byte by byte."""

import os
import platform
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from bench.records.record import read_lines
from tests.gpu_lab import Lab
from tests.test_cuda_backend import H100, UUID

ROOT: Final = Path(__file__).resolve().parent.parent
# Runs the commands on its input, with as little sampling as there can be. One cell fails with a text that names a
# file of the user's; the processes of `--processes` are as they are.
CHIPBENCH: Final = """
import os, sys
from pathlib import Path
from click.testing import CliRunner
from bench.cli.main import main
from bench.devices.cpu import CpuBackend
from bench.errors import CellFailed
from bench.run import planning
from tests.support import TINY

prepare = CpuBackend.prepare

def failing(self, cell, seed, **more):
    if cell.shape.m == 96:
        raise CellFailed(f"cannot open {os.environ['HOME']}/cache/kernel.so, nor ~/{os.environ['USER']}/x")
    return prepare(self, cell, seed, **more)

CpuBackend.prepare = failing
planning.fitted = lambda *_arguments, **_more: TINY
for line in sys.stdin:
    there = Path(os.environ["CHIPBENCH_RESULTS"]).glob("*/*.jsonl")
    records = sorted(there, key=lambda path: path.stat().st_mtime_ns)
    named = line.replace("FIRST", str(records[0])).replace("LAST", str(records[-1])) if records else line
    done = CliRunner().invoke(main, named.split())
    if done.exit_code:
        sys.exit(line + done.stderr)
    with open(line.split()[0] + ".out", "a") as printed:
        printed.write(done.stdout if line.startswith("compare") else "")
"""
RUN: Final = "run --backend cpu --dtype fp32 --size 64"
# What a path looks like: of an address, `https://...`, and of a ratio, `FLOP/s`, something else goes before it.
PATH: Final = re.compile(rb"(?<![\w./:<)%\xc2-\xf4\x80-\xbf-])/(?:[\w.+~-]+/)+[\w.+~-]+")
IPV4: Final = re.compile(rb"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
MAC: Final = re.compile(rb"(?i)(?<![\w:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![\w:])")
BOARD: Final = re.compile(rb"GPU-[0-9a-fA-F]{8}-")


class Machine(NamedTuple):
    """A place with telling names: what ran there, and everything that it wrote, by name."""

    folder: Path
    variables: Mapping[str, str]

    @property
    def results(self) -> Path:
        return self.folder / "results-of-wilhelmina"

    def chipbench(self, *commands: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", CHIPBENCH],
            cwd=self.folder,
            env=self.variables,
            input="\n".join(commands),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def records(self) -> list[Path]:
        return sorted(self.results.rglob("*.jsonl"))

    def written(self) -> dict[str, bytes]:
        """Return what was written, but for the key that makes the hashes, and what Matplotlib keeps at home."""
        made = [*self.folder.iterdir(), *self.records()]
        return {path.name: path.read_bytes() for path in made if path.is_file()}


def machine(folder: Path) -> Machine:
    home = folder / "home-of-wilhelmina"
    scratch = folder / "scratch-of-wilhelmina"
    for one in (home, scratch):
        one.mkdir()
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "USER": "wilhelmina",
        "LOGNAME": "wilhelmina",
        "HOSTNAME": "node-of-wilhelmina",
        "TMPDIR": str(scratch),
        "CHIPBENCH_RESULTS": str(folder / "results-of-wilhelmina"),
        "API_TOKEN": secrets.token_hex(16),
        "SLURM_JOB_NAME": "thesis-of-wilhelmina",
        "CUDA_VISIBLE_DEVICES": UUID,
        "CUDA_INJECTION64_PATH": str(home / "injected.so"),
        "CUBLASLT_HEURISTICS_LUT_FILE": str(home / "table"),
    }
    return Machine(folder, variables)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """What the commands write, of two runs here: one that fails in part, and one in several processes."""
    there = machine(tmp_path_factory.mktemp("wilhelmina"))
    there.chipbench(
        f"{RUN} --size 96",
        f"{RUN} --processes 2",
        *(f"results export --to {form} export-{form}" for form in ("csv", "json", "pytest-benchmark")),
        *(f"report --format {form} -o report.{form}" for form in ("html", "md", "json")),
        "compare FIRST LAST --format json",
    )
    return there


def texts(*paths: str) -> Iterator[str]:
    for pattern in paths:
        for path in Path("/").glob(pattern.removeprefix("/")):
            try:
                yield path.read_text(encoding="ascii").strip().lower()
            except (OSError, UnicodeDecodeError):
                continue


def names() -> set[str]:
    """Return what tells this very machine, and who works on it, from others."""
    serials = texts("/sys/class/dmi/id/*serial*", "/sys/class/dmi/id/*uuid*", "/sys/class/dmi/id/*asset_tag*")
    ids = [
        *texts("/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/random/boot_id", "/etc/hostname")
    ]
    found = {*serials, *ids, *texts("/sys/class/net/*/address")}
    found |= {socket.gethostname().lower(), platform.node().lower(), socket.getfqdn().lower()}
    found |= {one.replace("-", "") for one in ids}
    common = {"", "localhost", "none", "default string", "00:00:00:00:00:00", "not specified"}
    return {one for one in found - common if len(one) > 3}


def telling(content: bytes, where: Machine) -> set[str]:
    """Return what of a content tells of its place, machine or user."""
    lowered = content.lower()
    values = {value for name, value in where.variables.items() if name != "PATH"}
    values |= {str(Path.home()), sys.prefix, str(where.folder), "wilhelmina"}
    found = {value for value in (*values, *names()) if value.lower().encode() in lowered}
    return found | {match.decode() for match in (*MAC.findall(content), *BOARD.findall(content))}


@pytest.mark.slow
class TestReal:
    def test_all_of_it_was_written(self, here: Machine) -> None:
        assert len(here.records()) == 3
        assert len(here.written()) == 3 + 3 + 3 + 4  # and what was printed
        failures = [one.failure for path in here.records() for one in read_lines(path).measurements]
        assert [failure for failure in failures if failure] == ["cannot open kernel.so, nor x"]

    def test_nothing_tells_whose_machine_it_was(self, here: Machine) -> None:
        told = {name: telling(content, here) for name, content in here.written().items()}
        assert {name: what for name, what in told.items() if what} == {}

    def test_no_record_has_a_path_or_an_address(self, here: Machine) -> None:
        for path in here.records():
            content = path.read_bytes()
            assert PATH.findall(content) == []
            assert IPV4.findall(re.sub(rb'"versions":{[^}]*}', b"", content)) == []

    def test_variables_are_told_by_name_only_where_they_may_name_something(self, here: Machine) -> None:
        for path in here.records():
            flagged = read_lines(path).header.environment.flagged
            assert {name: flagged[name] for name in flagged if name.startswith("CU")} == {
                "CUDA_VISIBLE_DEVICES": "set",
                "CUDA_INJECTION64_PATH": "set",
                "CUBLASLT_HEURISTICS_LUT_FILE": "set",
            }

    def test_identify_adds_the_name_of_the_host_and_nothing_else(self, tmp_path: Path) -> None:
        there = machine(tmp_path)
        there.chipbench(f"{RUN} --identify")
        (path,) = there.records()
        content = path.read_bytes()
        assert read_lines(path).header.device.host == platform.node()
        named = f',"host":"{platform.node()}"'.encode()
        assert content.count(named) == 1
        assert telling(content.replace(named, b""), there) == set()


@pytest.mark.parametrize("identify", [False, True])
def test_a_gpu_s_record_has_no_id_of_its_board(
    identify: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = Lab(monkeypatch, tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", UUID)
    assert lab.run("--shape", "48x32x64", "--dtype", "fp32", *["--identify"] * identify).code == 0
    (path,) = tmp_path.rglob("*.jsonl")
    content = path.read_bytes()
    assert UUID.encode() not in content
    assert BOARD.findall(content) == []
    assert H100.bus_id.encode() not in content
    assert PATH.findall(content) == []
    assert (platform.node() in content.decode()) is identify


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'"/home/alice/x.so"', PATH),
        (b"cannot open /tmp/x/y: no", PATH),
        (b"10.11.12.13", IPV4),
        (b"00:1b:44:11:3a:B7", MAC),
        (UUID.encode(), BOARD),
    ],
)
def test_what_would_tell_is_found(content: bytes, what: re.Pattern[bytes]) -> None:
    assert what.search(content)
    assert not what.search(b"https://a.b/c/d/e 12.5 TFLOP/s/W 0.3.31.188.0 GPU-bound 12:30:45")
