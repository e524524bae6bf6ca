"""The wheel: built, installed into an empty environment, and used from there, outside the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from clipfake import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel alone; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


def run(program: Path, *words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *map(str, words)], cwd=folder, env=clean, capture_output=True, text=True, timeout=500
    )


def test_what_the_wheel_holds(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "clipfake").rglob("*") if path.is_file()}
    assert {name for name in here if "__pycache__" not in name} <= names
    others = {name.split("/")[0] for name in names}
    assert others == {"clipfake", f"clipfake-{__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_a_picture_is_checked_from_it(installed, detector, pictures, tmp_path):
    where = run(installed / "python", "-c", "import clipfake; print(clipfake.__file__)", folder=tmp_path)
    assert where.stdout.startswith(str(installed.parent))
    found = run(installed / "clipfake", "check", pictures / "00.jpg", "--detector", detector, "--json", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["images"][0]["status"] == "ok"


def test_a_folder_is_scored_from_it(installed, packed_detector, pictures, tmp_path):
    words = ("score", pictures, "--detector", packed_detector, "--out", "reports", "--json")
    found = run(installed / "clipfake", *words, folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["status"] == {"ok": 40}
    page = run(installed / "clipfake", "report", "reports", "--out", "report.html", folder=tmp_path)
    assert page.returncode == 0, page.stderr
    assert "<title>" in (tmp_path / "report.html").read_text()
