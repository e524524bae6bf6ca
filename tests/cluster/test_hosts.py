"""A cluster of three hosts: the whole way by `ray job submit`, and hosts that are cut off, killed and lost in it."""

import io
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hosts import Host, NoNamespacesError, hosts_on_a_hub
from PIL import Image

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.score import score
from clipfake.storage.store import Store

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
ITEMS = 160
UNIT_ROWS = 8  # 20 chunks: more than one host takes before another is there
# Seconds from a lost host until Ray knows: about (period + timeout) x threshold. Its own are 3, 10 and 5.
NOTICE_SOON = {
    "RAY_health_check_initial_delay_ms": "10000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}


SOON = ("--stall-timeout", 60)  # longer than actors take to start on a busy machine


class PacedStore:
    """moto's S3 as a WSGI application, whose images can be made slow to come: so a run has a middle.

    Until as many hosts as `until_hosts` have asked for some, each image takes PATIENCE_S, so that
    one host does not do all the work while the actors of the others start.
    """

    PATIENCE_S = 5.0

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._turn = threading.Lock()
        self.seconds_an_image = 0.0
        self.asked: set[str] = set()
        self._all_asked = threading.Event()
        self.until_hosts(0)

    def until_hosts(self, hosts: int) -> None:
        self._wanted = hosts
        self.asked.clear()
        self._all_asked.clear()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith(".jpg"):
            self.asked.add(environ["REMOTE_ADDR"])
            if len(self.asked) >= self._wanted:
                self._all_asked.set()
            self._all_asked.wait(self.PATIENCE_S)
            with self._turn:
                time.sleep(self.seconds_an_image)
        return self._moto(environ, start)


@dataclass
class Cluster:
    """Hosts with Ray on them, the host that people submit jobs from, and the bucket."""

    hosts: dict[str, Host]
    images: PacedStore
    bucket: str

    @property
    def head(self) -> Host:
        return self.hosts["head"]

    def start(self, *names: str) -> None:
        """Ray on these hosts, one CPU each; the head first."""
        for name in names:
            host = self.hosts[name]
            role = ["--head", "--port=6379", f"--dashboard-host={host.address}"] if host is self.head else []
            role = role or [f"--address={self.head.address}:6379"]
            common = [f"--node-ip-address={host.address}", f"--temp-dir={host.folder}", "--num-cpus=1", "--block"]
            command = ["ray", "start", *role, *common, "--object-store-memory=200000000"]
            number = names.index(name) + 1
            for _ in range(3):  # on a busy machine a node may be too slow for the head, and ends
                with (host.folder / "ray-start.log").open("wb") as log:
                    node = host.start(*command, stdout=log, stderr=log)
                wait_for(lambda n=number, node=node: self.alive() >= n or node.poll() is not None, f"{number} nodes")
                if node.poll() is None:
                    break
            else:
                raise AssertionError(f"Ray on {name}: {(host.folder / 'ray-start.log').read_text()[-2000:]}")

    def alive(self) -> int:
        answer = self.hosts["user"].get(f"http://{self.head.address}:8265/api/v0/nodes")
        listed = answer["data"]["result"]["result"] if answer and answer.get("result") else []
        return sum(node["state"] == "ALIVE" for node in listed)

    def command(self, name: str, *arguments: object) -> list[object]:
        address = f"http://{self.head.address}:8265"
        job = ["ray", "job", "submit", "--address", address, "--working-dir", JOBS, "--", "python"]
        return [*job, name, *arguments]

    def submit(self, job: str, *arguments: object) -> str:
        """Runs a job to its end from the user's host."""
        done = self.hosts["user"].run(*self.command(job, *arguments))
        assert done.returncode == 0, done.stdout
        return done.stdout

    def score(self, out: str, *more: object) -> list[object]:
        options = ["--unit-rows", UNIT_ROWS, "--batch-size", UNIT_ROWS, *more]
        where = [f"{self.bucket}/corpus", "--detector", f"{self.bucket}/detector", "--out", f"{self.bucket}/{out}"]
        return ["score.py", *where, *options]

    def submitted(self, out: str, log: Path) -> "subprocess.Popen[bytes]":
        """A scoring job under way."""
        with log.open("wb") as file:
            return self.hosts["user"].start(*self.command(*self.score(out, *SOON)), stdout=file, stderr=file)


@pytest.fixture(scope="module")
def cluster(s3_endpoint: str, packed_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts with Ray, S3 on the hub, and a fourth host to submit from.

    An encoder and ITEMS labelled images are in the bucket.
    """
    images = PacedStore()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        for name, value in {**keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": s3_endpoint}.items():
            patch.setenv(name, value)
        patch.setenv("CLIPFAKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        client = boto3.client("s3")
        client.create_bucket(Bucket="hosts")
        for name, data in pictures():
            client.put_object(Bucket="hosts", Key=f"corpus/{name}", Body=data)
        client.upload_file(str(packed_encoder), "hosts", "encoder.safetensors")
        ours = {"PYTHONPATH": str(JOBS.parent), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        env = {**os.environ, **NOTICE_SOON, **ours}
        try:
            with hosts_on_a_hub(("head", "a", "b", "user"), env) as (hub, hosts):
                url = hub.serve(images)
                for host in hosts.values():
                    host.env = {**host.env, "AWS_ENDPOINT_URL": url}
                made = Cluster(hosts, images, "s3://hosts")
                made.start("head", "a", "b")
                yield made
        except NoNamespacesError as error:
            pytest.skip(f"needs network namespaces, which this machine does not give: {error}")


def pictures() -> Iterator[tuple[str, bytes]]:
    """ITEMS images of two classes that a coarse look tells apart, named as the layout forensynths wants them."""
    random = np.random.default_rng(7)
    for i in range(ITEMS):
        cells = 4 if i % 2 else 12
        coarse = Image.fromarray(random.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        yield f"noise/{'1_fake' if i % 2 else '0_real'}/{i:03d}.jpg", buffer.getvalue()


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> pa.Table:
    """Embedded on all three hosts, trained with a worker on each of two; the rows of a score in this process."""
    bucket = cluster.bucket
    write_manifest(f"{bucket}/corpus", "forensynths", LayoutOptions(), Store(f"{bucket}/manifest"))
    embed = ["embed.py", f"{bucket}/manifest", "--encoder", f"{bucket}/encoder.safetensors"]
    cluster.images.until_hosts(2)
    cluster.submit(*embed, "--out", f"{bucket}/embeddings", "--unit-rows", UNIT_ROWS, "--batch-size", UNIT_ROWS)
    cluster.images.until_hosts(0)
    train = ["train.py", f"{bucket}/embeddings", "--out", f"{bucket}/detector", "--model", "head", "--workers", 2]
    cluster.submit(*train, "--epochs", 3, "--allow-shortcuts")
    out = f"{bucket}/undisturbed"
    score(f"{bucket}/corpus", f"{bucket}/detector", out, ScanOptions(), lambda n: lambda k: None)
    return read(out)


@pytest.mark.timeout(900)
def test_the_work_is_shared_and_training_has_a_worker_on_each_of_two_hosts(cluster, undisturbed):
    assert undisturbed.num_rows == ITEMS
    hosts = {cluster.hosts[name].address for name in ("head", "a", "b")}
    by_node = record(f"{cluster.bucket}/embeddings")["by_node"]
    assert by_node.keys() <= hosts
    assert len(by_node) >= 2
    assert sum(node["rows"] for node in by_node.values()) == ITEMS
    detector = json.loads(Store(f"{cluster.bucket}/detector").read_bytes("detector.json"))
    workers = detector["provenance"]["workers"]
    assert len(set(workers)) == len(workers) == 2
    assert set(workers) < hosts


@pytest.mark.timeout(900)
def test_a_host_is_cut_off_and_another_killed_in_the_middle(cluster, undisturbed, tmp_path):
    cluster.images.seconds_an_image = 0.25
    cluster.images.until_hosts(3)
    job, out = cluster.submitted("disturbed", tmp_path / "log"), f"{cluster.bucket}/disturbed"
    wait_for(lambda: committed(out) >= 2, "the middle", job)
    lost = {cluster.hosts[name].address for name in ("a", "b")}
    cluster.hosts["a"].cut_off()
    cluster.hosts["b"].kill()
    at = committed(out)
    cluster.images.seconds_an_image = 0.0
    ended, said = job.wait(timeout=300), (tmp_path / "log").read_text()
    assert ended == 0, said
    gone = {address for line in re.findall("nodes are gone: (.*)", said) for address in line.split(", ")}
    # Said only where the work is laid out anew: often Ray gives a lost host's chunks to the others before.
    assert gone <= lost
    assert at < ITEMS // UNIT_ROWS
    wait_for(lambda: cluster.alive() == 1, "news of both lost hosts")
    check(read(out), undisturbed)


@pytest.mark.timeout(900)
def test_the_head_is_lost_and_the_next_submission_goes_on(cluster, undisturbed, tmp_path):
    cluster.images.seconds_an_image = 0.25
    job, out = cluster.submitted("headless", tmp_path / "log"), f"{cluster.bucket}/headless"
    wait_for(lambda: committed(out) >= 2, "the middle", job)
    for host in ("head", "a", "b", "user"):
        cluster.hosts[host].kill()
    cluster.images.seconds_an_image = 0.0
    before = {name: Store(out).read_bytes(name) for name in files(out)}
    assert 2 <= len(before) < ITEMS // UNIT_ROWS
    cluster.start("head")
    cluster.submit(*cluster.score("headless"))
    check(read(out), undisturbed)
    assert all(Store(out).read_bytes(name) == data for name, data in before.items())
    assert record(out)["rows"] == ITEMS - UNIT_ROWS * len(before)


def check(found: pa.Table, wanted: pa.Table) -> None:
    """One row an item, with the numbers of one process that nothing happens to."""
    found, wanted = found.sort_by("item_id"), wanted.sort_by("item_id")
    for name in ("item_id", "version", "status", "content_sha256"):
        assert found[name].equals(wanted[name])
    np.testing.assert_allclose(found["decision"].to_numpy(), wanted["decision"].to_numpy(), atol=1e-4, rtol=0)


def files(folder: str) -> list[str]:
    return [file.name for file in Store(folder).list("") if file.name.endswith(".parquet")]


def committed(folder: str) -> int:
    return len(files(folder))


def read(folder: str) -> pa.Table:
    store = Store(folder)
    return pa.concat_tables([pq.read_table(store.path(name), filesystem=store.filesystem) for name in files(folder)])


def record(folder: str) -> dict[str, Any]:
    """The record of the folder's last run."""
    store = Store(f"{folder}/_runs")
    return json.loads(store.read_bytes(max(file.name for file in store.list(""))))


def wait_for(
    condition: Callable[[], bool], what: str, job: "subprocess.Popen[bytes] | None" = None, timeout_s: float = 150
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert job is None or job.poll() is None, f"the job ended before {what}"
        assert time.monotonic() < deadline, f"no {what} after {timeout_s:g} s"
        time.sleep(0.3)
