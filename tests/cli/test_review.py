"""`clipfake review` and `clipfake prevalence --audit` as typed: the one takes up what the other made."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tars import write_tar
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.bundle import Detector
from clipfake.report.review import COLUMNS
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store


@pytest.fixture
def report(tmp_path, detector, items, report_rows):
    """40 scored items, whose files are not there."""
    fingerprint = Detector.load(Store(f"file://{detector}")).fingerprint
    rows = report_rows(items([f"{i}.jpg" for i in range(40)]), detector=fingerprint).to_pydict()
    rows |= {"decision": list(np.linspace(-2, 2, 40)), "verdict": ["real"] * 30 + ["fake"] * 10}
    rows |= {"probability": [0.5] * 40, "unfamiliarity": [0.5] * 40}
    ledger = Ledger(
        Store(f"file://{tmp_path}/reports"), "report", REPORT_SCHEMA, "", footer("report", {"detector": fingerprint})
    )
    ledger.commit("a.parquet", report_rows(items(["x.jpg"])).from_pydict(rows, REPORT_SCHEMA))
    return f"{tmp_path}/reports"


def run(*arguments):
    found = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_from_the_page_to_the_audited_share(report, detector, tmp_path):
    page = tmp_path / "review.html"
    said = run("review", report, "--out", page, "--shown", 2, "--sample", 20)
    assert "20 of them drawn at random from 40" in said
    assert "without a picture" in said
    shown = re.findall(r'data-path="([^"]*)" data-sample="([^"]*)" data-verdict="([^"]*)"', page.read_text())
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows([path, verdict, sample, 40, verdict, ""] for path, sample, verdict in shown)
    audit = json.loads(run("prevalence", report, "--detector", detector, "--audit", tmp_path / "labels.csv", "--json"))[
        "audit"
    ]
    fakes = sum(sample == "random" and verdict == "fake" for _, sample, verdict in shown)
    assert (audit["whole"]["n"], audit["whole"]["fakes"]) == (20, fakes)
    assert (audit["verdicts"]["fake"]["n"], audit["verdicts"]["real"]["fakes"]) == (fakes, 0)
    told = run("prevalence", report, "--detector", detector, "--audit", tmp_path / "labels.csv")
    assert "a random sample of 40 scored items" in told
    assert "called fake" in told


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_labels_of_members_become_embeddings_and_a_detector(detector, tmp_path):
    """The whole way of labels.csv, as review.js writes it, whose rows name members of a tar: train and calibrate."""
    labels = reviewed(detector, tmp_path)
    run("index", labels, "--layout", "csv", "--out", tmp_path / "labelled")
    run("embed", tmp_path / "labelled", "--for", detector, "--out", tmp_path / "embeddings")
    trained = ("--model", "linear", "--allow-shortcuts", "--out", tmp_path / "trained")
    run("train", tmp_path / "embeddings", *trained)
    calibrated = run("calibrate", detector, "--on", labels, "--out", tmp_path / "calibrated", "--json")
    known = json.loads(calibrated)["provenance"]["calibrated"]
    assert (known["reals"], known["fakes"]) == (60, 60)
    arguments = ("prevalence", tmp_path / "reports", "--detector", detector, "--audit", labels, "--json")
    assert json.loads(run(*arguments))["audit"]["whole"]["n"] == 120


def reviewed(detector: Path, folder: Path) -> Path:
    """The labels of a page about 120 scored members: bright ones are fake."""
    random = np.random.default_rng(0)
    made = {}
    for number in range(120):
        pixels = random.integers(0, 128, (48, 48, 3)) + (number % 2) * 127
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
        made[f"d/{number} #.png"] = buffer.getvalue()
    (folder / "corpus").mkdir()
    write_tar(folder / "corpus" / "0.tar", made)
    run("score", folder / "corpus", "--layout", "webdataset", "--detector", detector, "--out", folder / "reports")
    run("review", folder / "reports", "--out", folder / "review.html", "--shown", 0, "--sample", 120)
    page = (folder / "review.html").read_text()
    shown = re.findall(r'data-path="([^"]*)" data-sample="([^"]*)" data-verdict="([^"]*)"', page)
    assert len(shown) == 120
    rows = [(path, ("real", "fake")[_number(path) % 2], sample, "120", verdict, "") for path, sample, verdict in shown]
    quoted = [",".join(f'"{value}"' for value in row) for row in rows]
    (folder / "labels.csv").write_bytes(("\r\n".join([",".join(COLUMNS), *quoted]) + "\r\n").encode())
    return folder / "labels.csv"


def _number(item_id: str) -> int:
    return int(re.search(r"#(?:d/)?(\d+)", item_id)[1])
