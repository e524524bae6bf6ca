"""What Prometheus is told, and that the dashboard shows that and nothing else."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from clipfake.onray import prometheus

DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana.json"
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
GPU = "ray_clipfake_gpu_memory_bytes"  # needs one


def exported() -> dict[str, set[str]]:
    """Metric -> the names that Prometheus sees of it."""
    return {
        name: {f"ray_{name}{suffix}" for suffix in SUFFIXES[kind]} for name, (kind, _, _) in prometheus.METRICS.items()
    }


def shown() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_shows_every_metric_and_no_other():
    used = {name for expression in shown() for name in re.findall(r"\w*clipfake\w+", expression)}
    assert used <= set.union(*exported().values())
    assert all(used & names for names in exported().values())


def test_the_dashboards_labels_are_the_metrics_own():
    own = {tag for _, _, tags in prometheus.METRICS.values() for tag in tags} | {"NodeAddress", "le"}
    by = {label.strip() for e in shown() for group in re.findall(r"by \(([^)]*)\)", e) for label in group.split(",")}
    assert by <= own


def test_without_ray_telling_does_nothing():
    code = (
        "import sys; from clipfake.onray import prometheus\n"
        "prometheus.stage_done('fetch', 3, 0.1); prometheus.unit_committed({'ok': 3}, 9, 0.1); prometheus.queue(3, 1)\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_run_exports_what_the_dashboard_asks_for(warm_ray, pictures, detector, tmp_path):
    import ray

    from clipfake.scoring.options import JobOptions, ScanOptions
    from clipfake.scoring.score import score

    options = ScanOptions(job=JobOptions(unit_rows=20))
    score(str(pictures), str(detector), str(tmp_path / "out"), options, lambda n: lambda k: None)
    (node,) = [node for node in ray.nodes() if node["Alive"]]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    wanted = set.union(*exported().values()) - {GPU}
    text, deadline = "", time.monotonic() + 60  # Ray collects every ten seconds
    while time.monotonic() < deadline and not all(f"\n{name}{{" in text for name in wanted):
        time.sleep(1)
        text = urllib.request.urlopen(url, timeout=10).read().decode()
    found = {line.partition("{")[0] for line in text.splitlines() if line.startswith("ray_clipfake")}
    assert found - {GPU} == wanted
    committed = [line for line in text.splitlines() if line.startswith("ray_clipfake_images_total{")]
    ours = [line for line in committed if 'status="ok"' in line and "NodeAddress=" in line]
    assert sum(float(line.rpartition(" ")[2]) for line in ours) >= 40
