"""docs/python.md: each example runs as it stands there; `import clipfake` imports nothing heavy; doctests hold."""

import doctest
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import clipfake
from clipfake.detector import named
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.score import score

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
MODULES = [path for path in sorted((ROOT / "clipfake").rglob("*.py")) if ">>> " in path.read_text()]


@pytest.fixture
def place(packed_detector: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name, and a package with field/v1."""
    shutil.copytree(packed_detector, tmp_path / "shipped" / "field" / "v1")
    monkeypatch.setattr(named, "FOLDER", tmp_path / "shipped")
    (tmp_path / "pictures").mkdir()
    for path in sorted(pictures.iterdir())[:4]:
        shutil.copy(path, tmp_path / "pictures")
    shutil.copy(pictures / "00.jpg", tmp_path / "photo.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(examples: list[str]) -> dict[str, object]:
    names: dict[str, object] = {}
    for example in examples:
        exec(example.replace("clip-b16", "ViT-S-32-alt/untrained"), names)
    return names


def test_the_examples_of_images_and_reports(in_process, place, capsys):
    score("pictures", str(place / "shipped/field/v1"), "reports", ScanOptions(), lambda _: lambda n: None)
    names = run([example for example in EXAMPLES if "import ray" not in example])
    assert "unsupported None None" in capsys.readouterr().out
    assert names["rows"][0]["status"] == "ok"
    assert names["table"].num_rows == 4
    assert sum(count for _, count in names["counts"]) == 4


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_of_ray_data(place, warm_ray):
    (example,) = [example for example in EXAMPLES if "import ray" in example]
    # Ray's workers import the package anew, in the folder where Ray started: there all is found by its path.
    for name, path in {"field/v1": "shipped/field/v1", "pictures": "pictures", "scored": "scored"}.items():
        example = example.replace(f'"{name}"', f'"{place / path}"')
    run([example])
    import ray

    assert sorted(ray.data.read_parquet(str(place / "scored")).to_pandas().status) == ["ok"] * 4


def test_the_front_door_is_light():
    code = (
        "import sys, clipfake; dir(clipfake); heavy = {'torch', 'ray', 'pyarrow', 'numpy', 'PIL', 'duckdb', 'typer'}; "
        "print(heavy & set(sys.modules)); print(len([name for name in sys.modules if name.startswith('clipfake')]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n1\n"


def test_what_the_front_door_names_is_there():
    for name in clipfake.__all__:
        assert getattr(clipfake, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        _ = clipfake.loads


def test_the_module_is_the_command_line():
    found = subprocess.run([sys.executable, "-m", "clipfake", "--help"], capture_output=True, text=True, check=True)
    assert "check" in found.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_doctests_hold(module):
    found = doctest.testmod(import_module(".".join(module.relative_to(ROOT).with_suffix("").parts)))
    assert found.attempted
    assert not found.failed
