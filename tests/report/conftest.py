"""A report folder with everything that a page must bear: nights, errors, changed files, names that attack."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipfake.corpus import uri as uris
from clipfake.report.schema import REPORT_SCHEMA, footer

DETECTOR = "d" * 64
THRESHOLDS = [{"fpr": 0.05, "decision": 1.0, "reals": 300}, {"fpr": 0.01, "decision": 2.0, "reals": 1000}]
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


@pytest.fixture
def copied(hostile: Path, tmp_path: Path) -> Path:
    """The hostile report folder, to be changed."""
    return Path(shutil.copytree(hostile / "reports", tmp_path / "reports"))
