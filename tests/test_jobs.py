"""The jobs as a cluster runs them: `ray start --head`, `ray job submit`, the same rows as from the command line."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from ray._private.runtime_env.packaging import create_package
from ray.job_submission import JobStatus, JobSubmissionClient
from typer.testing import CliRunner

from clipfake.cli.app import app

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture(scope="module")
def detector(packed_detector: Path) -> Path:
    return packed_detector


def submit(address: str, *arguments: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`ray job submit` of a file of jobs/, from this checkout."""
    command = [RAY, "job", "submit", "--address", address, "--working-dir", str(ROOT), *options, "--", "python"]
    command += map(str, arguments)
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
        late = time.monotonic() > deadline
        if "No available agent" not in done.stderr or late:  # the dashboard is up before its agent
            return done
        time.sleep(2)


def test_a_checkout_with_all_that_gathers_there_is_a_small_upload(tmp_path):
    checkout = tmp_path / "checkout"
    heavy = (".git/objects/pack/a.pack", ".venv/lib/b.so", "clipfake-demo/c.jpg", ".mypy_cache/d.json", "e.parquet")
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "clipfake-demo", ".*_cache"))
    for name in heavy:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(os.urandom(1 << 20))
    package = tmp_path / "package.zip"
    create_package(str(checkout), package, include_gitignore=True)
    with zipfile.ZipFile(package) as found:
        files = {name for name in found.namelist() if not name.endswith("/") and "__pycache__" not in name}
    assert files == {f"jobs/{path.name}" for path in (ROOT / "jobs").glob("*.py")}
    assert package.stat().st_size < 100_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_score_as_a_job_gives_the_rows_of_the_command(in_process, dashboard, pictures, detector, tmp_path):
    once = ("--submission-id", f"night-{tmp_path.name}")
    job = ("jobs/score.py", pictures, "--detector", detector, "--out", tmp_path / "job")
    done = submit(dashboard, *job, options=once)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 rows committed" in done.stdout
    command = ["score", str(pictures), "--detector", str(detector), "--out", str(tmp_path / "cli")]
    assert CliRunner().invoke(app, command).exit_code == 0
    rows = [
        {row["item_id"]: row["decision"] for row in ds.dataset(str(tmp_path / name)).to_table().to_pylist()}
        for name in ("job", "cli")
    ]
    assert rows[0].keys() == rows[1].keys()
    assert all(rows[0][key] == pytest.approx(rows[1][key], abs=1e-4) for key in rows[0])

    again = submit(dashboard, *job, options=once)
    assert again.returncode != 0
    assert "already exists" in again.stdout + again.stderr
    assert len(list((tmp_path / "job" / "_runs").iterdir())) == 1, "the second one ran"

    refused = submit(
        dashboard, "jobs/score.py", tmp_path / "nowhere", "--detector", detector, "--out", tmp_path / "none"
    )
    assert refused.returncode != 0
    assert "nowhere" in refused.stdout
    assert "Traceback" not in refused.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_nights_each_twice_and_one_late(dashboard, crawl, detector, tmp_path):
    def night(which: str) -> dict:
        """The line of JSON at the end of the job's log."""
        done = submit(
            dashboard, "jobs/nightly.py", f"{crawl}/{{date}}", "--date", which, "--detector", detector,
            "--out", tmp_path / "reports", "--pages", tmp_path / "pages", options=("--log-style", "record"),
        )  # fmt: skip
        (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"command": "nightly"'))
        found = json.loads(line)
        assert (done.returncode == 0) == (found["exit_code"] == 0), done.stdout + done.stderr
        assert found["exit_code"] in (0, 4), "a night may be unlike those before it"
        return found

    first, third, late = (night(f"2026-11-{day}") for day in ("01", "03", "02"))
    assert [found["nights"][0]["rows"] for found in (first, third, late)] == [130, 130, 130]
    assert late["nights"][0]["drift"]["against"] == "the 7 nights before"
    pages = {path.name: path.read_text() for path in (tmp_path / "pages").iterdir()}
    assert sorted(pages) == ["2026-11-01.html", "2026-11-02.html", "2026-11-03.html"]

    again = night("2026-11-01..2026-11-03")
    assert [(one["rows"], one["items"]) for one in again["nights"]] == [(0, 130)] * 3
    assert [one["drift"] for one in again["nights"]][1] == late["nights"][0]["drift"]
    rows = ds.dataset(str(tmp_path / "reports")).to_table(columns=["item_id"])["item_id"].to_pylist()
    assert len(rows) == len(set(rows)) == 390
    assert all(sum(f"/2026-11-{day}/" in row for row in rows) == 130 for day in ("01", "02", "03"))
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == sorted(pages)


@pytest.mark.slow
def test_a_stopped_job_gives_back_its_claim_and_keeps_what_it_committed(
    in_process, dashboard, pictures, detector, tmp_path
):
    corpus, out, name = tmp_path / "corpus", tmp_path / "reports", f"stopped-{tmp_path.name}"
    corpus.mkdir()
    for copy in range(100):
        for picture in pictures.iterdir():
            (corpus / f"{copy}-{picture.name}").hardlink_to(picture)
    job = ("jobs/score.py", corpus, "--detector", detector, "--out", out, "--unit-rows", 16)
    started = submit(dashboard, *job, options=("--submission-id", name, "--no-wait"))
    assert started.returncode == 0, started.stderr
    deadline = time.monotonic() + 180
    while not list(out.glob("*.parquet")):
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.1)
    command = [RAY, "job", "stop", "--address", dashboard, name]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert stopped.returncode == 0, stopped.stderr
    jobs = JobSubmissionClient(dashboard)
    logs = jobs.get_job_logs(name)
    assert "stopped; what was committed stays" in logs
    assert "Traceback" not in logs
    assert jobs.get_job_status(name) == JobStatus.STOPPED
    assert not list((out / "_lock").iterdir()), "its claim is given back"
    committed = ds.dataset(str(out)).count_rows()
    assert 0 < committed < 4000
    assert committed % 16 == 0
    said = json.loads(CliRunner().invoke(app, ["score", *map(str, job[1:6]), "--dry-run", "--json"]).stdout)
    assert (said["already_done"], said["open"] + said["new"]) == (committed, 4000 - committed)
