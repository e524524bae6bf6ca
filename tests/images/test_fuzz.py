"""A small run of the fuzz job; tests/benchmarks/fuzz_decode.py is the large one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz_decode.py"


@pytest.mark.slow
def test_1500_bad_images():
    done = subprocess.run(
        [sys.executable, FUZZ, "--count", "1500", "--seed", "7"], stdout=subprocess.PIPE, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    assert sum(told["statuses"].values()) == told["images"] == 1500
    assert {"ok", "truncated", "corrupt", "unsupported", "too_large", "empty"} <= told["statuses"].keys()
