"""The jobs as a cluster runs them: `ray start --head`, `ray job submit`, the same rows as from the command line."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
RayNode = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def dashboard(ray_node: RayNode, free_port: Callable[[], int]) -> str:
    """The address for jobs of a cluster of two CPUs that `ray start --head` made."""
    port = free_port()
    arguments = ["--head", "--num-cpus=2", f"--port={free_port()}"]
    ray_node(*arguments, "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    return f"http://127.0.0.1:{port}"


def submit(address: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [RAY, "job", "submit", "--address", address, "--working-dir", str(ROOT / "jobs"), "--", "python"]
    command += map(str, arguments)
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
        late = time.monotonic() > deadline
        if "No available agent" not in done.stderr or late:  # the dashboard is up before its agent
            return done
        time.sleep(2)


@pytest.mark.timeout(900)
def test_score_as_a_job_gives_the_rows_of_the_command(dashboard, pictures, detector, tmp_path):
    done = submit(dashboard, "score.py", pictures, "--detector", detector, "--out", tmp_path / "job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 rows committed" in done.stdout
    command = [
        sys.executable,
        "-m",
        "clipfake.cli",
        "score",
        pictures,
        "--detector",
        detector,
        "--out",
        tmp_path / "cli",
    ]
    subprocess.run([*map(str, command), "--out", str(tmp_path / "cli")], check=True, capture_output=True)
    rows = [
        {row["item_id"]: row["decision"] for row in ds.dataset(str(tmp_path / name)).to_table().to_pylist()}
        for name in ("job", "cli")
    ]
    assert rows[0].keys() == rows[1].keys()
    assert all(rows[0][key] == pytest.approx(rows[1][key], abs=1e-4) for key in rows[0])

    refused = submit(dashboard, "score.py", tmp_path / "nowhere", "--detector", detector, "--out", tmp_path / "none")
    assert refused.returncode != 0
    assert "nowhere" in refused.stdout
    assert "Traceback" not in refused.stdout
