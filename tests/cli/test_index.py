"""`clipfake index` prints a line a generator, their sum, and what was no item."""

import json
import shutil

from typer.testing import CliRunner

from clipfake.cli.app import app


def test_counts_by_generator_and_what_was_skipped(pictures, tmp_path):
    for name in ("gan/1_fake/a.jpg", "gan/1_fake/b.jpg", "gan/0_real/c.jpg", "notes/d.jpg"):
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / "00.jpg", tmp_path / "corpus" / name)
    given = ["index", str(tmp_path / "corpus"), "--layout", "forensynths", "--out"]
    done = CliRunner().invoke(app, [*given, str(tmp_path / "m")])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["gan", "1", "2", "0"] in lines and ["all", "1", "2", "0"] in lines
    assert f"3 items, 0.0 MB -> {tmp_path}/m" in done.stdout
    assert "1 skipped or warned of:" in done.stdout
    found = json.loads(CliRunner().invoke(app, [*given, str(tmp_path / "other"), "--json"]).stdout)
    assert (found["items"], found["real"], found["fake"]) == (3, 1, 2)
