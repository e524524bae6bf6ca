"""Weights files on this node: open_clip's tags from its hub cache, the package's own, and files from anywhere."""

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clipfake.encoder.spec import EncoderSpec
from clipfake.errors import UsageError, one_line

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

logger = logging.getLogger(__name__)


def weights_file(spec: EncoderSpec) -> Path | None:
    """The local path of the weights, fetched at most once a node however many processes ask; None for untrained.

    Raises UsageError where they cannot be had.
    """
    if spec.kind == "untrained":
        return None
    if spec.kind == "tag":
        return _from_hub(spec)
    if spec.kind == "embedded":
        from clipfake.encoder.open_clip.models import embedded_weights

        return embedded_weights(spec.weights)
    return file_at(spec.weights)


def file_at(place: str) -> Path:
    """The local path of the weights file with that canonical URI, fetched once a node. Raises UsageError."""
    from clipfake.storage import uri

    if not uri.is_local(place):
        return _from_store(place)
    path = Path(os.fsdecode(uri.to_path(place)))
    if not path.is_file():
        raise UsageError(
            f"there is no weights file {path} on this machine; give its path, or the URI of one that all nodes reach"
        )
    return path


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where fetched weights are kept: $CLIPFAKE_CACHE, else ~/.cache/clipfake."""
    return Path(os.environ.get("CLIPFAKE_CACHE") or Path.home() / ".cache" / "clipfake")


def hub_file(encoder: str, repository: str, name: str) -> Path:
    """A file of the hub's repository, from its local cache or fetched. `encoder` is for the message. UsageError."""
    from huggingface_hub import hf_hub_download

    return _of_hub(encoder, encoder, lambda: hf_hub_download(repository, name))


def _from_hub(spec: EncoderSpec) -> Path:
    from open_clip.pretrained import download_pretrained

    from clipfake.encoder.open_clip.models import open_clip

    config = open_clip.get_pretrained_cfg(spec.arch, spec.weights)
    return _of_hub(str(spec), spec.arch, lambda: download_pretrained(config))


def _of_hub(encoder: str, arch: str, download: Callable[[], str]) -> Path:
    from huggingface_hub.utils import logging as hub_logging

    # The hub's client takes cached files offline too, and locks what it fetches; it prints every retry on its own.
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    logger.info("looking for the weights of %s", encoder)
    try:
        return Path(download())
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"the weights of {encoder} are not in the local cache and cannot be fetched; copy the cache (HF_HOME) of a "
            f"machine that has them and set HF_HUB_OFFLINE=1, or give a weights file ({arch}/URI), or use random "
            f"weights ({arch}/untrained) ({one_line(error, 200)})"
        ) from error
    finally:
        hub_logging.set_verbosity(verbosity)


def _from_store(place: str) -> Path:
    from pyarrow.fs import FileType

    from clipfake.storage import uri

    filesystem, path = uri.filesystem(place)
    try:
        info = filesystem.get_file_info(path)
        if info.type != FileType.File:
            raise UsageError(f"there is no weights file {place}; check the URI and AWS_ENDPOINT_URL")
        # What the store replaces under the same name gets another name here.
        version = hashlib.sha256(f"{place} {info.size} {info.mtime_ns}".encode()).hexdigest()[:32]
        target = cache_folder() / "weights" / (version + PurePosixPath(path).suffix.lower())
        if not target.exists():
            _fetch_once(filesystem, info, target)
    except OSError as error:
        raise UsageError(
            f"cannot fetch the weights {place} to {cache_folder()}; check the keys in the environment, and that "
            f"CLIPFAKE_CACHE names a folder that can be written and has room ({one_line(error, 200)})"
        ) from error
    return target


def _fetch_once(filesystem: "FileSystem", info: "FileInfo", target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the system when its process dies
        if target.exists():
            return
        logger.info("fetching weights: %s, %d bytes", info.path, info.size)
        part = target.with_suffix(".part")
        with filesystem.open_input_stream(info.path) as source, part.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        if part.stat().st_size != info.size:
            raise OSError(f"{part.stat().st_size} of {info.size} bytes arrived")
        part.replace(target)
