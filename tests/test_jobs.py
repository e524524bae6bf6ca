"""The jobs as a cluster runs them: `ray start --head`, `ray job submit`, the same rows as from the command line."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.dataset as ds
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address for jobs of a cluster of two CPUs that `ray start --head` made; ended by process id."""
    port, temporary = free_port(), Path("/tmp") / f"cf-{os.getpid()}"  # Ray's socket names must be short
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}", f"--temp-dir={temporary}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--disable-usage-stats"]
    command += [f"--dashboard-agent-listen-port={free_port()}"]  # its fixed port is taken where another Ray runs here
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `python` is the one with clipfake
    head = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PATH": path},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    children = psutil.Process(head.pid).children(recursive=True)
    os.killpg(head.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(children, timeout=20)
    for process in alive:
        process.kill()
    head.wait(timeout=20)
    shutil.rmtree(temporary, ignore_errors=True)


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
