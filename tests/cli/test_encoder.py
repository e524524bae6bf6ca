import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.errors import UsageError

ENCODER = "ViT-S-32-alt/untrained"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("packed") / "sub" / "x.safetensors"
    result = CliRunner().invoke(app, ["encoder", "pack", ENCODER, "--blocks", "3", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.stdout.strip()


def test_pack_prints_the_fingerprint_that_show_shows(packed: tuple[Path, str]) -> None:
    path, fingerprint = packed
    command = ["encoder", "show", str(path), "--feature", "blocks:1,3", "--json"]
    found = json.loads(CliRunner().invoke(app, command).stdout)
    assert found["weights_sha256"] == fingerprint
    assert (found["arch"], found["family"], found["trained"]) == ("ViT-S-32-alt", "packed", False)
    assert "ViT-S-32-alt" in CliRunner().invoke(app, command[:-1]).stdout


def test_fetch_brings_it(packed: tuple[Path, str], tmp_path: Path) -> None:
    path, _ = packed
    result = CliRunner().invoke(app, ["encoder", "fetch", str(path), "--to", str(tmp_path)])
    assert result.stdout.strip() == (tmp_path / "x.safetensors").as_uri()
    assert (tmp_path / "x.safetensors").read_bytes() == path.read_bytes()


def test_a_file_that_is_cut_is_wrong_usage(packed: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(packed[0].read_bytes()[:-100])
    result = CliRunner().invoke(app, ["encoder", "show", str(tmp_path / "cut.safetensors")])
    assert isinstance(result.exception, UsageError)  # `main` says it in one line and exits with 2
