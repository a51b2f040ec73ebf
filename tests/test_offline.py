"""Nothing is downloaded at run time: the commands run where any word to another machine is refused, and noted."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = ROOT / "tests" / "data"
# Python imports this first in every process, also in those that a command starts.
HOOK: Final = """
import os, sys

NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
ASKING = ("urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect", "webbrowser.open")

def refuse(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if not isinstance(address, tuple) or str(address[0]).startswith(("127.", "::1", "localhost")):
            return
    elif event not in (*NAMES, *ASKING):
        return
    with open(os.environ["CHIPBENCH_TEST_ASKED"], "a") as noted:
        noted.write(f"{event} {args}\\n")
    raise RuntimeError("the network was asked")

sys.addaudithook(refuse)
"""
RUN: Final = ("run", "--backend", "cpu", "--quick", "--dtype", "fp32", "--size", "64")
COMMANDS: Final = (
    ("devices",),
    (*RUN, "--processes", "2"),
    ("run", "--backend", "replay", "--from", str(DATA / "readme.jsonl")),
    ("compare", "latest", "h20", "published:h100"),
    ("chips", "h20", "h100", "--sources"),
    ("explain", "h20"),
    ("roofline", "latest", "h20"),
    ("project", "--from", "published:h100", "--to", "h20"),
    ("plot", "cut", "h20", "h100", "-o", "cut.svg"),
    ("report", "--chip", "h20", "-o", "report.html"),
    ("results", "list"),
    ("results", "check"),
    ("results", "export", "--to", "pytest-benchmark", "out.json"),
)
ALL: Final = """
import sys
from click.testing import CliRunner
from bench.cli.main import main
from bench.run import planning
from tests.support import TINY

planning.fitted = lambda *_arguments, **_more: TINY
for line in sys.stdin:
    done = CliRunner().invoke(main, line.split())
    print(done.exit_code, line.strip(), done.stderr[-300:] if done.exit_code else "", flush=True)
"""


def offline(folder: Path, *command: str, said: str = "") -> tuple[str, str]:
    """Return what a command of Python printed, and what it asked of the network."""
    (folder / "sitecustomize.py").write_text(HOOK)
    asked = folder / "asked"
    asked.write_text("")
    variables = {name: value for name, value in os.environ.items() if name != "CHIPBENCH_RESULTS"}
    variables |= {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "CHIPBENCH_TEST_ASKED": str(asked)}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=variables,
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr, asked.read_text()


def test_no_command_asks_the_network(tmp_path: Path) -> None:
    printed, asked = offline(tmp_path, "-c", ALL, said="\n".join(" ".join(command) for command in COMMANDS))
    assert asked == ""
    assert [line[:2] for line in printed.splitlines()] == ["0 "] * len(COMMANDS), printed


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 9), 0.1)",
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')",
        "import socket; socket.getaddrinfo('example.com', 80)",
        # in a child, and without a connection
        """import subprocess, sys
code = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))"
subprocess.run([sys.executable, "-P", "-c", code])""",
    ],
)
def test_one_that_did_would_be_noted(code: str, tmp_path: Path) -> None:
    printed, asked = offline(tmp_path, "-c", code)
    assert asked.count("\n") == 1
    assert "the network was asked" in printed
