"""A file or object opened for reading at offsets, with the size and time it has now."""

from __future__ import annotations

import calendar
import errno
import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Protocol, cast

from clipfake.storage import uri as uris

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Readable(Protocol):
    """size in bytes."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes at an offset; fewer at the end. Raises OSError."""


class Source(Readable, Protocol):
    """etag where the store has one. All methods raise OSError."""

    @property
    def etag(self) -> str | None: ...

    def is_version(self, version: str) -> bool:
        """Whether this is still the file that was listed with this version."""

    def file(self) -> IO[bytes]:
        """A seekable file on it, valid until `close`."""

    def close(self) -> None: ...


def open_source(uri: str, attempts: int | None = None) -> Source:
    """Open a canonical URI; attempts as in `uri.filesystem`. Raises FileNotFoundError, PermissionError, OSError."""
    return LocalSource(uri) if uris.is_local(uri) else RemoteSource(uri, attempts)


class LocalSource:
    """A regular file of this machine. A FIFO or a device that took the place of one is refused and never waited for."""

    etag = None

    def __init__(self, uri: str) -> None:
        self._descriptor = os.open(uris.to_path(uri), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file")
        self.size = found.st_size
        self._version = f"{found.st_size}-{found.st_mtime_ns}"

    def is_version(self, version: str) -> bool:
        return version == self._version

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:  # a read may be cut short, by a signal or at 2 GiB
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def file(self) -> IO[bytes]:
        return open(self._descriptor, "rb", closefd=False)

    def close(self) -> None:
        os.close(self._descriptor)


class RemoteSource:
    """An object, or a file of another filesystem that pyarrow opens."""

    def __init__(self, uri: str, attempts: int | None) -> None:
        filesystem, path = uris.filesystem(uri, attempts)
        with self._only_os_errors():
            self._file = filesystem.open_input_file(path)
            self.size = self._file.size()
            metadata = {key: value.decode("utf-8", "replace") for key, value in (self._file.metadata() or {}).items()}
            self.etag = metadata.get("ETag") or metadata.get("etag")
            if "Last-Modified" in metadata:  # S3 answers it with the open; whole seconds
                self._seconds = calendar.timegm(time.strptime(metadata["Last-Modified"], "%Y-%m-%dT%H:%M:%SZ"))
            else:
                self._seconds = (filesystem.get_file_info(path).mtime_ns or 0) // 10**9

    def is_version(self, version: str) -> bool:
        size, _, mtime_ns = version.partition("-")
        return size == str(self.size) and mtime_ns.isdigit() and int(mtime_ns) // 10**9 == self._seconds

    def read_at(self, offset: int, length: int) -> bytes:
        with self._only_os_errors():
            return self._file.read_at(length, offset)

    def file(self) -> IO[bytes]:
        # Large ranges make a walk through a container a stream; what is larger than one is skipped, not read.
        return cast(IO[bytes], io.BufferedReader(Reading(self), buffer_size=8 << 20))

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def _only_os_errors(self) -> Iterator[None]:
        """gs:// raises other kinds of pyarrow's errors too."""
        from pyarrow import ArrowException

        try:
            yield
        except OSError:
            raise
        except ArrowException as error:
            raise OSError(str(error)) from error


class Reading(io.RawIOBase):
    """A source as a raw file, from its beginning."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        length = min(len(view), max(0, self._source.size - self._at))
        data = self._source.read_at(self._at, length) if length else b""
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def read_head(uri: str, length: int) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    with suppress(OSError):
        source = open_source(uri)
        try:
            return source.read_at(0, length)
        finally:
            source.close()
    return b""
