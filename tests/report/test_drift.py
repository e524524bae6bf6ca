"""Which rows are compared with which, and that a scheduler is told: a shift by exit code 4, noise by 0."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.bundle import Detector
from clipfake.errors import UsageError
from clipfake.measures.shift import quantiles_by_class
from clipfake.report.drift import drift
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA, embedding_schema
from clipfake.storage.store import Store

N = 400


def scored(items, report_rows, run, key, *, move=0.0, seed=0, size=512, errors=0):
    random = np.random.default_rng(seed)
    rows = report_rows(items([f"{run}/{i}" for i in range(N)]), detector=key, run_id=run).to_pydict()
    rows |= {
        "decision": (random.normal(size=N) + move).tolist(),
        "unfamiliarity": random.random(N).tolist(),
        "format": ["jpeg"] * N,
        "width": [size] * N,
        "height": [2 * size] * N,
        "status": ["ok"] * (N - errors) + ["corrupt"] * errors,
    }
    return pa.Table.from_pydict(rows, REPORT_SCHEMA)


@pytest.fixture
def report(tmp_path, items, report_rows):
    """Three nights alike, one that differs in scores, sizes and errors, and a run of another detector."""
    ledger = Ledger(Store(f"file://{tmp_path}/reports"), "report", REPORT_SCHEMA, "d", footer("report", {}))
    for seed, run in enumerate(("1", "2", "3")):
        ledger.commit(f"{run}.parquet", scored(items, report_rows, run, "d", seed=seed))
    bad = scored(items, report_rows, "4", "d", seed=9, move=1.0, size=128, errors=40)
    ledger.commit("4.parquet", bad)
    ledger.commit("0.parquet", scored(items, report_rows, "0", "other", move=5.0))
    return ledger.store.uri.removeprefix("file://")


def alarms(found):
    return {finding.measure for finding in found.findings if finding.alarm}


def test_by_default_the_last_run_is_compared_with_the_earlier_ones(report):
    found = drift(report)
    assert (found.current, found.reference) == ("run 4", "3 earlier runs")
    assert alarms(found) == {"decision KS", "decision PSI", "share above 0", "sizes PSI", "error rate"}
    assert next(f for f in found.findings if f.measure == "sizes PSI").said.startswith("128..255 pixels: 100.0%")


def test_nights_alike_raise_none(report):
    assert alarms(drift(report, "3")) == alarms(drift(report, "3", "1")) == set()
    assert drift(report, "1").findings == []


def test_the_scheduler_is_told(report):
    bad = CliRunner().invoke(app, ["drift", report, "--json"])
    assert bad.exit_code == 4
    assert json.loads(bad.stdout)["alarm"] is True
    assert CliRunner().invoke(app, ["drift", report, "--run", "3"]).exit_code == 0
    loose = ["--ks", "1", "--psi", "99", "--errors", "1", "--shares", "1"]
    assert CliRunner().invoke(app, ["drift", report, *loose]).exit_code == 0


def test_against_the_validation_data(report, detector, tmp_path, items, report_rows):
    bundle = Detector.load(Store(f"file://{detector}"))
    random = np.random.default_rng(5)
    decision, y = random.normal(size=1_000), np.arange(1_000) % 2
    decision[y == 1] += 2
    bundle = replace(
        bundle,
        metrics={**bundle.metrics, "val": {"n": 1_000}, "val_quantiles": quantiles_by_class(decision, y)},
    )
    bundle.save(Store(f"file://{tmp_path}/new"))
    ledger = Ledger(Store(f"file://{tmp_path}/own"), "report", REPORT_SCHEMA, "", footer("report", {}))
    ledger.commit("1.parquet", scored(items, report_rows, "1", bundle.fingerprint))
    ledger.commit("2.parquet", scored(items, report_rows, "2", bundle.fingerprint, move=-3))
    own = f"{tmp_path}/own"
    reals_only = drift(own, "1", "validation", f"{tmp_path}/new")
    assert alarms(reals_only) == set(), "another share of fakes alone is no alarm"
    assert {f.measure for f in reals_only.findings} >= {"decision KS", "unfamiliarity KS"}
    assert "decision KS" in alarms(drift(own, "2", "validation", f"{tmp_path}/new"))
    older = drift(own, "2", "validation", str(detector))
    assert "older" in " ".join(older.notes)
    with pytest.raises(UsageError, match="scored by detector"):
        drift(report, "4", "validation", str(detector))
    with pytest.raises(UsageError, match="needs --detector"):
        drift(own, "1", "validation")


def embeddings(place, items, move, encoder="e"):
    random = np.random.default_rng([int(10 * move)])
    x = random.normal(size=(N, 8)).astype(np.float32) + move
    schema = embedding_schema(8, "fp32")
    listing = items([f"{i}" for i in range(N)])
    columns = {name: listing[name].to_pylist() if name in listing.schema.names else [None] * N for name in schema.names}
    columns |= {"view": [0] * N, "status": ["ok"] * N, "format": ["jpeg"] * N, "width": [64] * N, "height": [64] * N}
    columns["embedding"] = list(x)
    ledger = Ledger(Store(f"file://{place}"), "embeddings", schema, encoder, footer("embeddings", {"encoder": encoder}))
    ledger.commit("a.parquet", pa.Table.from_pydict(columns, schema))
    return str(place)


def test_embeddings_are_compared_by_their_mean(tmp_path, items, report):
    one, same = embeddings(tmp_path / "one", items, 0.0), embeddings(tmp_path / "same", items, 0.1)
    far, other = embeddings(tmp_path / "far", items, 1.0), embeddings(tmp_path / "other", items, 0.0, "f")
    assert alarms(drift(one, against=same)) == set()
    assert alarms(drift(one, against=far)) == {"embedding mean"}
    assert "sizes PSI" in alarms(drift(report, "1", one))
    with pytest.raises(UsageError, match="different encoders"):
        drift(one, against=other)
    with pytest.raises(UsageError, match="whole"):
        drift(one)


@pytest.mark.parametrize(("run", "against", "says"), [("9", None, "no rows"), ("4", "0", "another detector")])
def test_what_cannot_be_compared_is_refused(report, run, against, says):
    with pytest.raises(UsageError, match=says):
        drift(report, run, against)
