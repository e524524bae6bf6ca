"""Where Ray counts a GPU, encoders share it; the model itself runs on the CPU here, which is all that differs."""

import json
import subprocess
import sys

import pyarrow.dataset as ds
import pytest

pytestmark = pytest.mark.slow

# The driver, in a process of its own: that of the tests may have a Ray already.
DRIVER = """
import json, sys
from dataclasses import asdict, replace
import ray
from clipfake.scoring import job
from clipfake.scoring.options import JobOptions, ScanOptions
from clipfake.scoring.score import score

pictures, detector, out = sys.argv[1:]
plan, laid_out = job._Run._placement, []

def on_cpu(*args):
    laid_out.append(plan(*args))
    return replace(laid_out[-1], device="cpu", chunk_rows=8, encoders=2)

job._Run._placement = on_cpu
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
rows = []
for source, to, saved in ((pictures, "direct", out + "/kept"), (out + "/kept", "stored", None)):
    options = ScanOptions(job=JobOptions(encoders_per_gpu=2, batch_size=8 if saved else None))
    rows.append(score(source, detector, f"{out}/{to}", options, lambda n: lambda k: None, saved).totals.rows)
print(json.dumps({"rows": rows, "layouts": [asdict(layout) for layout in laid_out]}))
"""


@pytest.mark.timeout(300)
def test_encoders_share_a_gpu(pictures, packed_detector, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(pictures), str(packed_detector), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["rows"] == [40, 40]
    for layout in found["layouts"]:
        assert (layout["device"], layout["encoder_cpus"], layout["encoder_gpus"]) == ("cuda", 0.0, 0.5)
    decisions = [dict(rows_of(tmp_path / name)) for name in ("direct", "stored")]
    assert decisions[0] == pytest.approx(decisions[1], abs=1e-4)


def rows_of(folder) -> list[tuple[str, float]]:
    table = ds.dataset(str(folder)).to_table(columns=["item_id", "decision"])
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
