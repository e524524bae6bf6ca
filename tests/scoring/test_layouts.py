"""A result does not depend on how actors are laid out nor on the batch size, beyond the stated tolerance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from clipfake.scoring import executor, placement, sources, unit_runner
from clipfake.scoring.options import JobOptions, ScanOptions
from clipfake.scoring.score import score

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_ray")]

BESIDE_GPUS = {  # as on machines with GPUs: preparers feed encoders through the object store
    "encoders": 2,
    "encoder_cpus": 0.3,
    "encoder_threads": 1,
    "preparers": 2,
    "preparer_cpus": 0.2,
    "decoders": 1,
}
LAYOUTS = {"alone": {}, "two stages": BESIDE_GPUS, "in this process": {}}
RUNS = (("in this process", 8), ("in this process", 32), ("alone", 8), ("two stages", 32))


def rows_of(folder: Path) -> dict[str, dict]:
    rows = ds.dataset(str(folder)).to_table().to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows) == 40
    return {row["item_id"]: row for row in rows}


def test_layouts_and_batch_sizes_give_the_same(pictures, packed_detector, tmp_path, monkeypatch):
    plan, found = sources.plan_placement, {}
    monkeypatch.setitem(placement.ROWS_PER_CHUNK, "cpu", 8)
    monkeypatch.setattr(unit_runner, "chunks_a_task", lambda pipeline, chunks: min(3, pipeline[0].together))
    for name, batch in RUNS:
        layouts = []

        def changed(*args, change=LAYOUTS[name], layouts=layouts, **kwargs):
            layouts.append(replace(plan(*args, **kwargs), **change))
            return layouts[-1]

        monkeypatch.setattr(sources, "plan_placement", changed)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr(executor, "at_hand", lambda name=name: name != "in this process")
        options, out = ScanOptions(job=JobOptions(batch_size=batch)), tmp_path / f"{name} {batch}"
        done = score(
            str(pictures), str(packed_detector), str(out), options, lambda n: lambda k: None, str(out) + " kept"
        )
        assert (done.record["nodes"][0]["address"] == "here") == (name == "in this process")
        assert bool(layouts[-1].preparers) == (name == "two stages")
        assert layouts[-1].batch_size == batch
        found[name, batch] = rows_of(out), rows_of(Path(f"{out} kept"))
    first_rows, first_kept = found["in this process", 32]
    for rows, kept in found.values():
        for item, row in first_rows.items():
            assert {**rows[item], **VARIES} == {**row, **VARIES}
            assert rows[item]["decision"] == pytest.approx(row["decision"], abs=1e-4)
            assert rows[item]["probability"] == pytest.approx(row["probability"], abs=1e-4)
            np.testing.assert_allclose(kept[item]["embedding"], first_kept[item]["embedding"], rtol=0, atol=1e-5)


VARIES = dict.fromkeys(("run_id", "scored_at", "decision", "probability", "unfamiliarity"))
