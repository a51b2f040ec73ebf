"""The plain tests with the oldest and with the newest direct dependencies that pyproject.toml allows.

    python tests/dependencies/run.py
    python tests/dependencies/run.py --python /path/to/python3.13 --python 3.12

Makes two fresh virtual environments a Python beside each other in a scratch folder, from wheels alone; runs plain
pytest and pip-audit in each; resolves the CUDA extras, which need a GPU to run; prints what was used and what came
of it. Exits 1 if anything failed. Takes about four minutes a Python on two cores, and downloads from PyPI. What
could not be looked up is said to be `not run`, never to be well.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
RESOLUTIONS: Final = {"lowest": "lowest-direct", "newest": "highest"}
CUDA: Final = ("cuda12", "cuda13")
NOT_RUN: Final = "not run"


class Result(NamedTuple):
    """One step: what it was, and `ok`, `failed` or `not run`, with the line that says why."""

    step: str
    outcome: str
    said: str


class Tools(NamedTuple):
    """The commands that the job runs, in an environment of their own."""

    uv: Path
    audit: Path


def ran(command: Sequence[str | Path], environment: Path | None = None) -> tuple[int, str, str]:
    """Run a command in the checkout, and return its exit code, stdout and stderr."""
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    if environment is not None:
        variables["VIRTUAL_ENV"] = str(environment)
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def tell(line: str) -> None:
    """Print a line at once: the steps take minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def last_line(*texts: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def tools_in(scratch: Path) -> Tools:
    """Install uv and pip-audit, whose newest versions are what is wanted."""
    folder = scratch / "tools"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", "uv", "pip-audit"], check=True)
    return Tools(folder / "bin" / "uv", folder / "bin" / "pip-audit")


def direct() -> list[str]:
    """Return the names of all that pyproject.toml names for running and testing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["cluster"], *extras["test"]]
    names = [re.split(r"[^\w.-]", one, maxsplit=1)[0].lower() for one in named]
    return sorted(name for name in names if name != "chipbench")


def environment(tools: Tools, scratch: Path, python: str, name: str) -> Iterator[Result]:
    """Make one environment, and yield what came of each step in it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch)) / "environment"
    wheels = ("--only-binary", ":all:", "--no-binary", "chipbench", "--resolution", RESOLUTIONS[name])
    code, out, err = ran([tools.uv, "venv", "--python", python, folder])
    if code == 0:
        code, out, err = ran([tools.uv, "pip", "install", *wheels, "-e", ".[test,cluster]"], folder)
    if code != 0:
        yield Result("install", "failed", " ".join(err.split())[-400:])
        return
    interpreter = folder / "bin" / "python"
    _, version, _ = ran([interpreter, "--version"])
    _, frozen, _ = ran([tools.uv, "pip", "freeze", "--exclude-editable"], folder)
    installed = dict(line.lower().split("==", 1) for line in frozen.splitlines() if "==" in line)
    yield Result("install", "ok", version.strip())
    tell("    " + " ".join(f"{one}=={installed.get(one, '?')}" for one in direct()))
    code, out, err = ran([interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider"], folder)
    if code != 0:
        tell(out[-6000:] + err[-2000:])
    yield Result("pytest", "ok" if code == 0 else "failed", last_line(err, out))
    listed = folder.with_suffix(".txt")
    listed.write_text(frozen)
    yield audited(tools, listed)


def audited(tools: Tools, listed: Path) -> Result:
    """Ask for known vulnerabilities of all that is installed; what no service answered for is `not run`."""
    asked = (tools.audit, "-r", listed, "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json")
    _, out, err = ran(asked)
    try:
        told = json.loads(out)["dependencies"]
    except (ValueError, KeyError):
        return Result("pip-audit", NOT_RUN, last_line(out, err))
    skipped = [one["name"] for one in told if "skip_reason" in one]
    found = [f"{one['name']} {one['version']}: {bad['id']}" for one in told for bad in one.get("vulns", ())]
    if found:
        return Result("pip-audit", "failed", "; ".join(found))
    if skipped:
        return Result("pip-audit", NOT_RUN, f"{len(skipped)} of {len(told)} packages could not be looked up")
    return Result("pip-audit", "ok", f"no known vulnerability in {len(told)} packages")


def cuda(tools: Tools) -> Iterator[Result]:
    """Resolve the extras of a GPU, with wheels, without installing them."""
    shown = re.compile(r"^(?:cupy|nvmath|cuda-bindings|cuda-toolkit).*", re.MULTILINE)
    for extra in CUDA:
        for name, resolution in RESOLUTIONS.items():
            wheels = ("--only-binary", ":all:", "--resolution", resolution, "--python-version", "3.11")
            code, out, err = ran([tools.uv, "pip", "compile", "-q", *wheels, "--extra", extra, "pyproject.toml"])
            said = " ".join(shown.findall(out)) if code == 0 else " ".join(err.split())[-400:]
            yield Result(f"resolve {extra}, {name}", "ok" if code == 0 else "failed", said)


def main() -> int:
    """Run all, print it, and return the exit code."""
    parser = argparse.ArgumentParser(description="Runs the plain tests with the oldest and newest dependencies.")
    parser.add_argument("--python", action="append", help="a version or a path; may be repeated (3.11)")
    pythons = parser.parse_args().python or ["3.11"]
    results: list[Result] = []

    def show(of: str, steps: Iterator[Result]) -> None:
        for one in steps:
            results.append(one)
            tell(f"{of}  {one.step:22} {one.outcome:8} {one.said}")

    with tempfile.TemporaryDirectory(prefix="chipbench-dependencies-") as folder:
        tools = tools_in(Path(folder))
        show("-", cuda(tools))
        for python in pythons:
            for name in RESOLUTIONS:
                show(f"{name} {python}", environment(tools, Path(folder), python, name))
    failed = sum(one.outcome == "failed" for one in results)
    not_run = sum(one.outcome == NOT_RUN for one in results)
    tell(f"{len(results) - failed - not_run} ok, {failed} failed, {not_run} not run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
