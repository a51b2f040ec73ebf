"""What is shipped: wheel and sdist carry the specs, and every kind of install answers alike, from anywhere."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHIPS = sorted(path.name for path in (ROOT / "specs" / "chips").glob("*.toml"))

pytestmark = pytest.mark.slow


def _run(*command: str | Path, cwd: Path | str = "/") -> str:
    ran = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it: what a package index would serve."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def test_the_wheel_carries_the_specs_and_nothing_of_the_tests_or_results(distributions: dict[str, Path]) -> None:
    names = zipfile.ZipFile(distributions["wheel"]).namelist()
    assert sorted(Path(name).name for name in names if name.startswith("bench/_specs/chips/")) == CHIPS
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench"}


def test_the_sdist_carries_the_specs_and_the_tests(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions["sdist"]) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    assert sorted(Path(name).name for name in names if name.startswith("specs/chips/")) == CHIPS
    assert "tests/test_shipping.py" in names
    of_results = {name for name in names if name.startswith("results/") and not name.startswith("results/plots/")}
    assert of_results == {"results/README.md"}


def _installed(where: Path, *what: str | Path, beside: Path | None = None) -> Path:
    """Install into a new environment, with its dependencies, or with those of the one `beside`."""
    venv.create(where, with_pip=True)
    if beside is not None:
        (there,) = beside.glob("lib/python*/site-packages")
        (here,) = where.glob("lib/python*/site-packages")
        (here / "zz-beside.pth").write_text(f"{there}\n", encoding="utf-8")  # the last that is looked into
    _run(where / "bin" / "pip", "install", "-q", *(["--no-deps"] if beside else []), *what)
    return where / "bin" / "chipbench"


def test_all_installs_show_the_same_chips_from_anywhere(distributions: dict[str, Path], tmp_path: Path) -> None:
    wheel = _run(_installed(tmp_path / "wheel", distributions["wheel"]), "chips")
    editable = _run(_installed(tmp_path / "editable", "-e", ROOT, beside=tmp_path / "wheel"), "chips")
    sdist = _run(_installed(tmp_path / "sdist", distributions["sdist"], beside=tmp_path / "wheel"), "chips")
    assert editable.count("\n") > len(CHIPS)
    assert wheel == editable
    assert sdist == editable
    for name, root in (("wheel", tmp_path / "wheel"), ("sdist", tmp_path / "sdist"), ("editable", ROOT)):
        of = _run(tmp_path / name / "bin" / "python", "-c", "import bench; print(bench.__file__)")
        assert Path(of).is_relative_to(root)
    page = tmp_path / "report.html"
    _run(tmp_path / "wheel" / "bin" / "chipbench", "report", "-o", page, cwd=tmp_path)
    written = page.read_text(encoding="utf-8")
    assert written.count("<svg") >= 4
    assert "--page:" in written, "its style is there"
    assert "aria-sort" in written, "and so is its script"
