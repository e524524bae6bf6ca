"""What pages are made of: a report folder with nights, errors and names that attack, and an evaluation's result."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipfake.evaluation.protocols import ALL
from clipfake.measures.cells import Scored, cell, curves, real_sources
from clipfake.measures.thresholds import Threshold
from clipfake.report import summary
from clipfake.storage import uri as uris
from clipfake.storage.footers import footer
from clipfake.storage.reports import latest, rows_of
from clipfake.storage.schemas import REPORT_SCHEMA

DETECTOR = "d" * 64
THRESHOLDS = [{"fpr": 0.05, "decision": 1.0, "reals": 300}, {"fpr": 0.01, "decision": 2.0, "reals": 1000}]
NIGHT = datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
ATTACKS = (
    '"><img src=x onerror=alert(1)>.jpg',
    "' onmouseover='alert(1)' x='.jpg",
    "<script>alert(1)<&#47;script>.jpg",
    "{{ 7 * 7 }}{% raw %}.jpg",
    "a‮gpj.exe.jpg",
    "line\nbreak\x07.jpg",
    "x" * 240 + ".jpg",
    "$\\frac{1}{0}$.jpg",
)
Row = dict[str, Any]
CHROMIUM = """--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync
    --no-first-run"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. Without it the test skips; where CLIPFAKE_BROWSER is "required", as in .ci/run, it fails."""
    missing = pytest.fail if os.environ.get("CLIPFAKE_BROWSER") == "required" else pytest.skip
    try:
        from playwright import sync_api
    except ImportError:
        missing("needs the Python package playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        missing("needs Chromium: install the package `chromium`")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM.split())
        yield found
        found.close()


def verdict(decision: float) -> str:
    return "fake" if decision >= 2 else "real" if decision < 1 else "unsure"


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., None]:
    """write_rows(folder, name, rows, detector=DETECTOR): report rows as one file; what is not given is null."""

    def write(folder: Path, name: str, rows: list[Row], detector: str = DETECTOR) -> None:
        facts = {"detector": detector, "encoder": "e" * 64, "precision": "fp32", "thresholds": THRESHOLDS}
        schema = REPORT_SCHEMA.with_metadata(footer("report", facts))
        common = {"detector": detector, "version": "1", "status": "ok", "run_id": "r"}
        filled = [{name: (common | row).get(name) for name in schema.names} for row in rows]
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(filled, schema=schema), folder / f"{name}.parquet")

    return write


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory, write_rows: Callable[..., None]) -> Path:
    """`reports` of three nights over `images`, whose names and errors attack the page."""
    root = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(5)
    done = 0
    for night in range(3):
        at = datetime(2026, 11, 1 + night, 2, tzinfo=UTC)
        run_id = f"{at:%Y%m%dT%H%M%S}-{night:06x}"
        rows = [scored(root, night, i, random) for i in range(20)]
        rows += [failed(root, night, i) for i in range(3)]
        write_rows(root / "reports", run_id, [row | {"run_id": run_id, "scored_at": at} for row in rows])
        found = {"listed": done + 23, "done": done, "new": 23, "changed": 0, "retried": 0, "bytes_to_read": 0}
        record = {"command": "score", "run_id": run_id, "key": DETECTOR, "found": found, "rows": 23}
        record |= {"finished_for_earlier_runs": 0, "options": {"source": "file:///crawl"}, "started_at": str(at)}
        (root / "reports" / "_runs").mkdir(exist_ok=True)
        (root / "reports" / "_runs" / f"{run_id}.json").write_text(json.dumps(record))
        done += 23
    return root


def scored(root: Path, night: int, i: int, random: np.random.Generator) -> Row:
    name = ATTACKS[i] if i < len(ATTACKS) else f"{i}.jpg"
    path = root / "images" / f"night-{night}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.integers(0, 255, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((90, 60)).save(path, "JPEG")
    uri, decision = uris.from_path(str(path)), 4 - 0.3 * i + 0.01 * night
    return {
        "item_id": uri,
        "uri": uri,
        "version": f"{path.stat().st_size}-{path.stat().st_mtime_ns}",
        "content_sha256": f"{night}-{i}",
        "size": path.stat().st_size,
        "width": 90,
        "height": 60,
        "format": "jpeg",
        "decision": decision,
        "probability": 1 / (1 + np.exp(-decision)),
        "verdict": verdict(decision),
        "unfamiliarity": i / 20,
        "declared": "parameters: <script>alert(2)</script>" if i % 5 == 0 else None,
    }


def failed(root: Path, night: int, i: int) -> Row:
    uri = uris.from_path(str(root / "images" / f"night-{night}" / f"bad {i} <b>.jpg"))
    error = f"looks like <img src=x onerror=alert({i})> at byte {i}"
    return {"item_id": uri, "uri": uri, "status": "corrupt" if i else "missing", "error": error}


@pytest.fixture(scope="session")
def row() -> Callable[..., Row]:
    """row(name, hours=0, decision=0.0, **more) -> a report row of an item of that name, scored so many hours later."""
    return _row


def _row(name: str, at: float = 0, decision: float = 0.0, **more: Any) -> Row:
    uri = f"file:///c/{name}"
    scores = {"decision": decision, "probability": 0.5, "verdict": verdict(decision), "unfamiliarity": 0.5}
    if more.get("status", "ok") != "ok":
        scores = {}
    return {"item_id": uri, "uri": uri, "scored_at": NIGHT + timedelta(hours=at), **scores, **more}


@pytest.fixture
def summarised(tmp_path: Path, write_rows: Callable[..., None]) -> Callable[..., Row]:
    """summarised(rows, run_id=None, shown=24) -> the summary of what a reader sees of them."""
    folders = iter(range(1_000_000))

    def run(rows: list[Row], run_id: str | None = None, shown: int = 24, detector: str = DETECTOR) -> Row:
        place = tmp_path / str(next(folders))
        write_rows(place, "a", rows)
        dataset = pads.dataset(sorted(place.glob("*.parquet")), schema=REPORT_SCHEMA)
        with rows_of(dataset) as every:
            return summary.summarise(latest(every, detector, run_id and [run_id]), THRESHOLDS, shown)

    return run


@pytest.fixture(scope="session")
def counted() -> Callable[..., Row]:
    """counted(**changed) -> what a page counts, as far as its doubts look at it; nothing in it speaks against."""

    def make(**changed: Any) -> Row:
        return {
            "total": {"n": 1000, "scored": 1000, "flagged": 100, "errors": 0},
            "checks": [{"holds": True}],
            "flag": {"fpr": 0.01},
            "unfamiliar": {"measured": 1000, "0.99": 10},
            "drift": {"alarm": False, "findings": []},
            "bundle": {
                "encoder": {"weights": "openai"},
                "metrics": {"test": {"auc": 0.95}},
                "baseline": {"test": {"auc": 0.9}},
            },
        } | changed

    return make


@pytest.fixture
def copied(hostile: Path, tmp_path: Path) -> Path:
    """The hostile report folder, to be changed."""
    return Path(shutil.copytree(hostile / "reports", tmp_path / "reports"))


@pytest.fixture(scope="session")
def described() -> Row:
    """What `detector show` says of a detector, as far as the card shows it."""
    return _DESCRIBED


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., Row]:
    """evaluation(name="cycle_gan", robust=True) -> a result of `clipfake evaluate` with a generator of that name."""
    return _evaluation


_DESCRIBED: dict[str, Any] = {
    "fingerprint": "d" * 64,
    "encoder_fingerprint": "e" * 64,
    "in_dim": 512,
    "head": {"kind": "linear_projection", "out_dim": 128},
    "classifier": {"summary": "RBF SVM, 1,986 support vectors, gamma 0.1234"},
    "calibrator": {"kind": "sigmoid"},
    "metrics": {"at_thresholds": {"0.05": {"tpr": 0.336, "fpr": 0.041, "fakes": 390, "reals": 590}}},
    "provenance": {
        "sizes": {"train": {"n": 3, "reals": 1234, "fakes": 567}},
        "notes": ["preset <b>"],
        "data_sha256": "f" * 64,
    },
}


def _cell(tested_on: str, balanced: float, trained_on: str = "the detector", **more: Any) -> dict[str, Any]:
    measures = {"balanced_accuracy": balanced, "real_accuracy": balanced, "fake_accuracy": balanced, "auc": balanced}
    ends = {f"{name}{end}": value for name, value in measures.items() for end in ("_low", "_high")}
    counts = {"n": 30, "reals": 10, "fakes": 20, "units": 30, "errors": 0, "seed": 0, "error": None}
    rest = {"ap": 0.5, "ece": 0.01, "brier": 0.02, "nll": 0.3, "confusion": {"tn": 7, "fp": 3, "fn": 4, "tp": 16}}
    bins = [{"probability": 0.2, "fakes": 0.1, "fakes_low": 0.0, "fakes_high": 0.4}]
    return {
        **measures,
        **ends,
        **counts,
        **rest,
        "tested_on": tested_on,
        "trained_on": trained_on,
        "reliability": bins,
    } | more


def _condition(kind: str, strength: float | None, balanced: float) -> dict[str, Any]:
    lost = {"flips": 0.2, "to_real": 0.3, "to_fake": 0.1, "condition": f"{kind}-{strength}", "option": ""}
    return _cell("", balanced) | lost | {"kind": kind, "strength": strength}


def _evaluation(name: str = "cycle_gan", robust: bool = True) -> dict[str, Any]:
    threshold = {"fpr": 0.05, "decision": 0.997, "reals": 295, "fpr_low": 0.029, "fpr_high": 0.078}
    own = {
        "about": "tested on its own split",
        "cells": [_cell("(all)", 0.81), _cell(name, 0.42), _cell("glide", 0.9)],
        "macro": {"generators": {"balanced_accuracy": 0.7, "real_accuracy": 0.7, "fake_accuracy": 0.7, "auc": 0.7}},
        "seeds": [],
        "real_sources": [
            {
                "source": name,
                "category": None,
                "reals": 9,
                "fpr": 0.5,
                "fpr_low": 0.2,
                "fpr_high": 0.8,
                "verdicts": {"real": 4, "unsure": 3, "fake": 2},
            }
        ],
    }
    matrix = {
        "about": "trained on one, tested on each",
        "cells": [_cell(b, 0.6 if a == b else 0.5, a) for a in (name, "glide") for b in (name, "glide")]
        + [
            _cell("glide", 0.8, name, seed=1),
            {"trained_on": "(all)", "tested_on": "glide", "seed": 0, "error": "too few <i>"},
        ],
        "macro": {},
        "seeds": [],
    }
    further = {
        "robustness": {
            "conditions": [_condition("clean", None, 0.8), _condition("jpeg", 30, 0.55), _condition("jpeg", 70, 0.7)],
            "items": 980,
        },
        "adversarial": {
            "by_epsilon": [_cell("", 0.8) | {"epsilon": 0}, _cell("", 0.02) | {"epsilon": 8}],
            "transfer": {"by_epsilon": [_cell("", 0.8) | {"epsilon": 0}, _cell("", 0.3) | {"epsilon": 8}]},
            "items": 64,
            "steps": 20,
        },
    }
    return {
        "version": "0.1.0",
        "made_at": "2026-11-24T01:02:03+00:00",
        "detector": {
            "place": "d",
            "fingerprint": "d" * 64,
            "encoder": "ViT-B-32/x",
            "encoder_trained": True,
            "precision": "fp32",
            "trained_at": None,
            "generators": [name, "glide"],
            "thresholds": [threshold],
        },
        "embeddings": {"place": "/emb", "data_sha256": "f" * 64, "items": 4900, "reals": 2950, "fakes": 1950},
        "notes": ["no item has a group_id"],
        "worst": {
            "protocol": "own",
            "seed": 0,
            "trained_on": "the detector",
            "tested_on": name,
            "balanced_accuracy": 0.42,
            "balanced_accuracy_low": 0.3,
            "balanced_accuracy_high": 0.54,
            "auc": 0.4,
        },
        "protocols": {"own": own, "matrix": matrix},
    } | (further if robust else {})


_NASTY = "$\\frac{1}{0}$\n\x00 of a name that is far too long for any axis"


@pytest.fixture(scope="module")
def evaluated() -> dict[str, Any]:
    """What an evaluation found, as its tables and figures take it; names are strangers'."""
    random = np.random.default_rng(0)
    y = np.arange(400) % 2
    decision = random.normal(size=400) + y
    scored = Scored(y, decision, 1 / (1 + np.exp(-decision)), np.arange(400), (Threshold(0.05, 1.5, 300),))
    names = (ALL, "glide", _NASTY, "")
    own = [
        {"seed": 0, "trained_on": "the detector", "tested_on": name, "error": None, "errors": 1,
         **cell(scored.take(np.arange(i, 400))), **curves(scored.take(np.arange(i, 400)))}
        for i, name in enumerate(names)
    ]  # fmt: skip
    cells = [
        {"seed": seed, "trained_on": a, "tested_on": b, "error": None, "train_reals": 5, "train_fakes": 6,
         **cell(scored.take(random.integers(0, 400, 50)))}
        for seed in (0, 1) for a in names for b in names[1:3]
    ]  # fmt: skip
    cells += [{"seed": 0, "trained_on": "small", "tested_on": b, "error": "too few"} for b in names[1:3]]
    sources = real_sources(scored, np.array(["coco"] * 400, object), np.array([None] * 400, object))
    return {
        "detector": {"encoder": "ViT"},
        "protocols": {
            "own": {"cells": own, "real_sources": sources},
            "matrix": {"cells": cells},
            "leave-generator": {"cells": cells},
            "official": {"cells": cells[-2:]},
        },
    }
