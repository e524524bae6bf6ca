"""The audit of a manifest: images are read on Ray, the right cause is named, exit codes are those of the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

ROWS = 60


def corpus(root: Path, kind: str) -> str:
    """A manifest of ROWS JPEG images of noise, half of them fake: as PNG, larger, or with copies."""
    random = np.random.default_rng(0)
    for i in range(ROWS):
        fake = i % 2
        folder = root / kind / ("fake" if fake else "real")
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8))
        quality = int(random.integers(60, 96))
        if fake and kind == "resized":
            image = image.resize((48, 48))
        path = folder / f"{random.integers(10**6):06}{'.png' if fake and kind == 'png' else '.jpg'}"
        image.save(path, quality=quality)
        if i == 0 and kind == "copied":
            for name in ("real/copy.jpg", "fake/copy.jpg"):
                (root / kind / name).parent.mkdir(exist_ok=True)
                (root / kind / name).write_bytes(path.read_bytes())
            (folder / "empty.jpg").write_bytes(b"")
    place, out = uris.from_path(str(root / kind)), str(root / f"{kind}-manifest")
    write_manifest(place, "folders", LayoutOptions(real=("real",), fake=("fake",)), Store(uris.from_path(out)))
    return out


@pytest.mark.slow
def test_manifests_are_read_and_the_right_cause_is_named(warm_ray, tmp_path):
    def run(kind: str, *more: str):
        return CliRunner().invoke(app, ["audit", corpus(tmp_path, kind), "--json", *more])

    fine = run("copied")
    assert fine.exit_code == 0, fine.output
    found = json.loads(fine.stdout)
    assert found["refusal"] is None and found["unreadable"] == 1 and found["read"] == ROWS + 3
    assert found["duplicates"]["exact"]["across_classes_sets"] == 1
    (named,) = found["duplicates"]["exact"]["with_both_labels"]
    assert any("/real/" in name for name in named) and any("/fake/copy.jpg" in name for name in named)
    assert set(found["baselines"]) == {"mean colour", "8x8 thumbnail", "strong blur"}
    for kind, cause in (("png", "format"), ("resized", "width")):
        refused = run(kind)
        assert isinstance(refused.exception, UsageError) and f"most by {cause}" in str(refused.exception)
        assert json.loads(refused.stdout)["shortcuts"]["named"] == cause
    allowed = run("resized", "--allow-shortcuts")
    assert allowed.exit_code == 0 and "refusal" in json.loads(allowed.stdout)


def test_a_manifest_without_labels_or_with_too_small_a_sample_is_refused_before_anything_is_read(tmp_path):
    out = corpus(tmp_path, "plain")
    result = CliRunner().invoke(
        app, ["audit", out, "--sample", "10", "--duplicates", "drop", "--out", str(tmp_path / "new")]
    )
    assert isinstance(result.exception, UsageError) and "--sample 0" in str(result.exception)
    unlabelled = str(tmp_path / "unlabelled")
    write_manifest(
        uris.from_path(str(tmp_path / "plain")), "images", LayoutOptions(), Store(uris.from_path(unlabelled))
    )
    result = CliRunner().invoke(app, ["audit", unlabelled])
    assert isinstance(result.exception, UsageError) and "no labelled items" in str(result.exception)
