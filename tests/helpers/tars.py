"""Tars from names and bytes, and back."""

import io
import tarfile
from pathlib import Path

from clipfake.storage import uri as uris


def write_tar(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size, about.mtime, about.mode = len(data), 1_700_000_000, 0o640
            tar.addfile(about, io.BytesIO(data))
    return uris.from_path(str(path))


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}
