"""Weights in an object store reach a node once, however many actors on it load them."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


class Counting:
    """moto's S3 as a WSGI application that counts the bytes it gives of weights files."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.given = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        parts = self._moto(environ, start)
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].endswith(".safetensors"):
            return parts
        parts = list(parts)
        with self._lock:
            self.given += sum(map(len, parts))
        return parts


@pytest.fixture
def counting(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """All S3 clients go to it."""
    from werkzeug.serving import make_server

    app = Counting()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield app
    server.shutdown()


@pytest.fixture
def weights(s3: str, packed_encoder: Path) -> tuple[str, int]:
    """The URI of an encoder's weights in the bucket, and their bytes."""
    import boto3

    boto3.client("s3").upload_file(str(packed_encoder), s3.removeprefix("s3://"), "w.safetensors")
    return f"{s3}/w.safetensors", packed_encoder.stat().st_size


def test_actors_of_a_node_fetch_their_weights_once(warm_ray, weights, counting, tmp_path, monkeypatch):
    import ray

    from clipfake.encoder import describe
    from clipfake.scoring.stages import Encode

    uri, size = weights
    monkeypatch.setenv("CLIPFAKE_CACHE", str(tmp_path / "driver"))
    description = describe(uri)
    assert counting.given == size
    names = [name for name in os.environ if name.startswith("AWS_")]
    env = {name: os.environ[name] for name in names} | {"CLIPFAKE_CACHE": str(tmp_path / "node")}
    actor = ray.remote(num_cpus=0.5, runtime_env={"env_vars": env})(Encode)
    actors = [actor.remote(description, "fp32", "cpu", 1, 16, None, keep=True) for _ in range(2)]
    refused = ray.get([one.__ray_call__.remote(lambda encode: encode._refused) for one in actors])
    assert refused == [None, None]
    assert counting.given == 2 * size
    (kept,) = [path for path in (tmp_path / "node" / "weights").iterdir() if path.suffix == ".safetensors"]
    assert kept.stat().st_size == size
