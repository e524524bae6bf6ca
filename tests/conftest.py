"""Fixtures for all tests: an S3 server on loopback; more in helpers/."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["gcs", "ledgers", "proxy"]

# Machines are shared: how long an example takes says nothing.
settings.register_profile("clipfake", deadline=None)
settings.load_profile("clipfake")


CLUSTERS = ("test_hosts.py", "test_chaos.py", "test_jobs.py")  # several Rays each: one after the other
LONG = (*CLUSTERS, "test_train.py")


class ByFile(LoadScopeScheduling):
    """Of pytest-xdist's workers one takes a whole file, whose tests share what they set up, and one all clusters."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "clusters" if file.rpartition("/")[2] in CLUSTERS else file


@pytest.hookimpl(optionalhook=True)  # pytest runs without xdist too
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that at the end no worker has to wait for one."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """A command or a library that runs in the tests' own process may change how logs go and what SIGTERM does."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("clipfake").setLevel(logging.NOTSET)
    for name, log in logging.root.manager.loggerDict.items():
        if name.startswith("clipfake") and isinstance(log, logging.Logger):
            log.disabled, log.propagate = False, True
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of moto's S3 server, one a session."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh bucket; the environment leads every S3 client (pyarrow's, boto3's, child processes') to it."""
    import boto3

    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def crawl() -> Path:
    """Three nights of 130 untouched web images each."""
    if not (SHARED / "crawl").is_dir():
        pytest.skip("needs ../shared/data/crawl, which is only on development machines")
    return SHARED / "crawl"


@pytest.fixture(scope="session")
def mini_artifact() -> Path:
    """4,900 images in ArtiFact's layout."""
    if not (SHARED / "mini_artifact").is_dir():
        pytest.skip("needs ../shared/data/mini_artifact, which is only on development machines")
    return SHARED / "mini_artifact"


@pytest.fixture(scope="session", autouse=True)
def _private_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray 2.60 would write a token below HOME; and no cluster of the user's is touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete detector for the embeddings of ViT-S-32-alt/untrained."""
    from detectors import random_detector

    return random_detector("ViT-S-32-alt/untrained", tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="session")
def packed_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a random ViT-S-32-alt. A process loads it without open_clip, whose import takes 8 s of a core."""
    from clipfake.encoder.packed.pack import pack

    file = tmp_path_factory.mktemp("encoder") / "small.safetensors"
    file.write_bytes(pack("ViT-S-32-alt/untrained").to_bytes())
    return file


@pytest.fixture(scope="session")
def packed_detector(packed_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete detector for the embeddings of `packed_encoder`: for tests whose processes are many."""
    from detectors import random_detector

    return random_detector(str(packed_encoder), tmp_path_factory.mktemp("packed_detector"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 different JPEGs of 96 x 96 pixels."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for i in range(40):
        coarse = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """free_port() -> a port of loopback that nobody has."""
    return find_free_port


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ray_node(free_port: Callable[[], int]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """ray_node("--head", ...) -> the process of a node that `ray start` made, leader of a group with all of the node's.

    The nodes end with the test, by process id.
    """
    with ray_nodes(free_port) as start:
        yield start


@pytest.fixture(scope="session")
def dashboard(free_port: Callable[[], int]) -> Iterator[str]:
    """The address for jobs of a cluster of two CPUs that `ray start --head` made, one a session."""
    for _ in range(3):  # on a busy machine Ray gives up after half a minute, and somebody may have taken a port
        port = free_port()
        with ray_nodes(free_port) as start:
            arguments = ["--head", "--num-cpus=2", f"--port={free_port()}"]
            arguments += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
            if _answers(port, start(*arguments)):
                yield f"http://127.0.0.1:{port}"
                return
    pytest.fail("Ray's dashboard did not come up in 3 tries")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether something listens there within two minutes; no longer than the process lives."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.5)
    return False


@contextlib.contextmanager
def ray_nodes(free_port: Callable[[], int]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """What `ray_node` gives, for the duration of the block."""
    nodes: list[subprocess.Popen[bytes]] = []
    temporary = tempfile.mkdtemp(prefix="cf-", dir="/tmp")  # Ray's socket names must be short
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `python` is the one with clipfake

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", *arguments]
        # The agent's own port is fixed, and taken where another Ray runs on this machine.
        command += [f"--dashboard-agent-listen-port={free_port()}"]
        if "--head" in arguments:
            command += [f"--temp-dir={temporary}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        nodes.append(subprocess.Popen(command, **quiet, start_new_session=True, env={**os.environ, "PATH": path}))
        return nodes[-1]

    try:
        yield start
    finally:
        for node in reversed(nodes):
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(node.pid).children(recursive=True)
                os.killpg(node.pid, signal.SIGTERM)
                _, alive = psutil.wait_procs(children, timeout=20)
                for process in alive:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            node.wait(timeout=20)
        shutil.rmtree(temporary, ignore_errors=True)
