import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest

from clipfake.encoder.spec import EncoderSpec
from clipfake.encoder.weights import sha256_file, weights_file
from clipfake.errors import UsageError

WEIGHTS = bytes(range(256)) * 5000


def spec(weights: str) -> EncoderSpec:
    return EncoderSpec.parse(f"ViT-B-32/{weights}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CLIPFAKE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "weights"


@pytest.fixture
def put(s3: str) -> Any:
    import boto3

    def put(name: str, data: bytes) -> str:
        boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key=name, Body=data)
        return f"{s3}/{name}"

    return put


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(WEIGHTS)
    assert sha256_file(tmp_path / "x.pt") == hashlib.sha256(WEIGHTS).hexdigest()


def test_untrained_needs_no_file() -> None:
    assert weights_file(spec("untrained")) is None


def test_a_local_file_is_used_where_it_is(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "my weights.pt"
    path.write_bytes(WEIGHTS)
    assert weights_file(spec(str(path))) == path
    assert not cache.exists()


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_no_such_local_file(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "x.pt")
    with pytest.raises(UsageError, match=r"no weights file .*x\.pt on this machine"):
        weights_file(spec(str(tmp_path / "x.pt")))


def test_an_object_is_fetched_and_kept(put: Any, cache: Path) -> None:
    place = spec(put("folder/x y.safetensors", WEIGHTS))
    path = weights_file(place)
    assert path is not None
    assert path.parent == cache
    assert path.suffix == ".safetensors"
    assert path.read_bytes() == WEIGHTS
    modified = path.stat().st_mtime_ns
    assert weights_file(place) == path
    assert path.stat().st_mtime_ns == modified


def test_an_object_that_changed_is_fetched_again(put: Any) -> None:
    first = weights_file(spec(put("x.pt", WEIGHTS)))
    second = weights_file(spec(put("x.pt", WEIGHTS + b"more")))
    assert first is not None
    assert second is not None
    assert (first.read_bytes(), second.read_bytes()) == (WEIGHTS, WEIGHTS + b"more")


def test_many_processes_fetch_once(put: Any, cache: Path) -> None:
    place = spec(put("x.pt", WEIGHTS * 4))
    code = (
        "import logging, sys; logging.basicConfig(level=logging.INFO)\n"
        "from clipfake.encoder.spec import EncoderSpec; from clipfake.encoder.weights import weights_file\n"
        f"sys.stdin.read(1); print(weights_file(EncoderSpec('ViT-B-32', {place.weights!r}, 'file')))"
    )
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(4)
    ]
    for child in children:  # all start at once
        assert child.stdin is not None
        child.stdin.write("go")
        child.stdin.flush()
    out, logs = zip(*(child.communicate(timeout=60) for child in children), strict=True)
    assert len(set(out)) == 1, logs
    assert Path(out[0].strip()).read_bytes() == WEIGHTS * 4
    assert "".join(logs).count("fetching weights") == 1
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".pt"]


def test_what_a_killed_process_left_is_not_taken_for_weights(put: Any, cache: Path) -> None:
    place = spec(put("x.pt", WEIGHTS))
    path = weights_file(place)
    assert path is not None
    path.rename(path.with_suffix(".part"))
    path.with_suffix(".part").write_bytes(b"half")
    assert weights_file(place) == path
    assert path.read_bytes() == WEIGHTS


def test_no_such_object(s3: str) -> None:
    with pytest.raises(UsageError, match="no weights file s3://"):
        weights_file(spec(f"{s3}/x.pt"))


def test_no_store_there(monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    monkeypatch.setattr("clipfake.storage.uri.filesystem", lambda place: (BrokenStore(OSError("gone")), "x.pt"))
    with pytest.raises(UsageError, match=r"cannot fetch the weights s3://.*\(gone\)"):
        weights_file(spec(f"{s3}/x.pt"))


def test_a_stream_that_ends_early_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr("clipfake.storage.uri.filesystem", lambda place: (BrokenStore(), "x.pt"))
    with pytest.raises(UsageError, match="100 of 200 bytes arrived"):
        weights_file(spec("s3://bucket/x.pt"))
    assert not list(cache.glob("*.pt"))


def test_a_cache_that_cannot_be_written(put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLIPFAKE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="CLIPFAKE_CACHE names a folder"):
        weights_file(spec(put("x.pt", WEIGHTS)))


class BrokenStore:
    """Says an object has 200 bytes and gives 100, or fails at once."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error

    def get_file_info(self, path: str) -> Any:
        from pyarrow.fs import FileType

        if self.error:
            raise self.error
        return SimpleNamespace(type=FileType.File, size=200, mtime_ns=1, path=path)

    def open_input_stream(self, path: str) -> io.BytesIO:
        return io.BytesIO(bytes(100))


@pytest.mark.slow
def test_a_tag_offline_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    code = (
        "from clipfake.encoder.spec import EncoderSpec; from clipfake.encoder.weights import weights_file\n"
        "from clipfake.errors import UsageError\n"
        "try: weights_file(EncoderSpec.parse('ViT-B-32/laion2b_s34b_b79k'))\n"
        "except UsageError as error: print('UsageError:', error)"
    )
    home = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | home, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"UsageError: the weights of ViT-B-32/laion2b_s34b_b79k are not .*\n", done.stdout)
    assert "ViT-B-32/untrained" in done.stdout
    assert done.stderr == ""


def test_a_tag_in_the_cache_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at import
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name = open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")["hf_hub"].rstrip("/")
    model = tmp_path / f"models--{name.replace('/', '--')}"
    revision = "0123456789" * 4
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(revision)
    (model / "snapshots" / revision).mkdir(parents=True)
    (model / "snapshots" / revision / "open_clip_model.safetensors").write_bytes(WEIGHTS)
    found = weights_file(spec("laion2b_s34b_b79k"))
    assert found == model / "snapshots" / revision / "open_clip_model.safetensors"
