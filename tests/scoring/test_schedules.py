"""Schedules of trouble drawn at random: some of those that docs/benchmarks.md counts, and that a fault is noticed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
# Commands are forked: from a process of its own, since threads of this one would not live on in them.
NOTICED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scene import Scene, made_props, warm_up
from schedules import Act, Schedule
warm_up()
folder = Path(sys.argv[2])
scene = Scene(folder / "0", f"{folder}/0/reports", Schedule(False, False, ()), made_props(folder, 12, (False,)))
scene.folder.mkdir()
scene.grow(12)
assert scene.do(Act("score")) == 0 and scene.faults == [], scene.faults
one, two, *_ = sorted((scene.folder / "reports").glob("*.parquet"))
again = one.with_name("again.parquet")
again.write_bytes(one.read_bytes())
scene.check("that", 12)
again.unlink()
two.unlink()
scene.check("this", 12)
said = ["after that 5 rows are double (own reader)", "after this 5 of 12 rows are missing (own reader)"]
assert scene.faults == said, scene.faults
(scene.folder / f"{one.stem[:-7]}.narrow").touch()
scene.faults.clear()
scene.check("another", 0)
assert scene.faults == ["after another a decision is another (own reader)"], scene.faults
"""


def run(folder: Path, *command: object) -> None:
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=550, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_each_ends_with_one_row_an_item_or_says_what_is_missing(tmp_path):
    """Pauses, kills, outages, partitions, other options, a second machine, a damaged input; on a disk and on S3."""
    run(tmp_path, TESTS / "benchmarks" / "chaos_schedules.py", "--first", 14, "--count", 2)


@pytest.mark.timeout(600)
def test_rows_that_are_doubled_or_lost_are_noticed(tmp_path):
    run(tmp_path, "-c", NOTICED, TESTS / "helpers", tmp_path)
