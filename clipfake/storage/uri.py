"""URIs of places and items: RFC 3986, every byte outside the unreserved characters and `/` percent-encoded."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_to_bytes

from clipfake.errors import UsageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

OBJECT_STORES = ("s3", "gs")
SCHEMES = ("file", *OBJECT_STORES, "hdfs")

# The SDK's defaults (1 s to connect, 3 s without a byte) are too short for a store under load.
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 20.0
ATTEMPTS = 8
RETRY_TIME_LIMIT_S = 30.0  # of the client for gs://
EMULATOR = "CLOUD_STORAGE_EMULATOR_ENDPOINT"  # what it names asks for no credentials

_DEFAULT_CREDENTIALS = "application_default_credentials.json"
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(/.*)?", re.DOTALL)
_AUTHORITY = {"s3": r"[A-Za-z0-9._-]+", "gs": r"[A-Za-z0-9._-]+", "hdfs": r"[A-Za-z0-9._-]+(:[0-9]+)?"}


def place(text: str) -> str:
    """The canonical URI of what a user typed: a path (relative ones become absolute) or a URI.

    Raises UsageError for a scheme that is not supported and for credentials, a query or a fragment in a URI; the
    message never repeats the text, which may hold a secret.
    """
    match = _URI.fullmatch(text)
    if match is None:
        if not text:
            raise UsageError("a place is empty: give a path or a URI such as s3://bucket/folder")
        return from_path(text)
    scheme, authority, path = match[1].lower(), match[2], match[3] or ""
    if scheme not in SCHEMES:
        raise UsageError(f"the scheme {scheme!r} is not supported: use a path or one of {', '.join(SCHEMES)}")
    if "?" in text or "#" in text:
        raise UsageError(f"a {scheme}:// URI here takes no query and no fragment: write ? as %3F and # as %23 in names")
    if scheme == "file":
        if authority not in ("", "localhost"):
            raise UsageError("a file:// URI names a file of this machine: use file:///path")
        return from_path(unquote_to_bytes(path or "/"))
    if not re.fullmatch(_AUTHORITY[scheme], authority):
        raise UsageError(
            f"a {scheme}:// URI starts with the bare name of a bucket or host: put keys and secrets in the environment"
        )
    raw = unquote_to_bytes(path.strip("/"))
    if raw and not {b"", b".", b".."}.isdisjoint(raw.split(b"/")):
        raise UsageError(f"a {scheme}:// URI cannot hold the segments '', '.' and '..': give the plain path")
    return f"{scheme}://{authority}" + (f"/{quote(raw)}" if raw else "")


def from_path(path: bytes | str) -> str:
    """The file URI of a local path, made absolute. Names need not be UTF-8."""
    return "file://" + quote(os.path.abspath(os.fsencode(path)))  # noqa: PTH100 - pathlib has no bytes


def to_path(uri: str) -> bytes:
    """The local path of a file URI, as the bytes the system knows it by."""
    return unquote_to_bytes(uri.removeprefix("file://"))


def is_local(uri: str) -> bool:
    """Whether the URI names a file or folder of this machine."""
    return uri.startswith("file://")


def scheme_of(uri: str) -> str:
    """The scheme of a canonical URI: file, s3, gs or hdfs."""
    return uri.partition("://")[0]


def check_within_reach(table: str, named: str) -> None:
    """Raises UsageError where a table on an object store names what only other credentials or this machine can reach.

    A table of this machine may name what it likes.
    """
    scheme, other = scheme_of(table), scheme_of(named)
    hosts = {uri.split("/")[2] for uri in (table, named)} if scheme == "hdfs" == other else set()
    if scheme != "file" and (other != scheme or len(hosts) > 1):
        raise UsageError(f"{shown(table)} names {shown(named)}, which lies elsewhere: allow it with --allow-outside")


def join(uri: str, name: bytes | str) -> str:
    """The URI of `name` (raw bytes or text, may hold `/`) below the folder `uri`."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return f"{uri.rstrip('/')}/{quote(raw)}" if raw else uri


def shown(uri: str) -> str:
    """The URI decoded for people and for regular expressions; bytes that are not UTF-8 become U+FFFD."""
    return unquote(uri, errors="replace")


def item_id(uri: str, member: str | None = None) -> str:
    """The identity of an item: its URI, and for a member of a container `#` and the percent-encoded member.

    `member` is a tar member's name (surrogateescape for bytes that are not UTF-8) or the row number in a Parquet file.
    """
    return uri if member is None else f"{uri}#{quote(member.encode('utf-8', 'surrogateescape'))}"


def split_item_id(item: str) -> tuple[str, str | None]:
    """The URI and the member of an item_id: the inverse of `item_id`."""
    uri, sign, member = item.partition("#")
    return uri, unquote(member, errors="surrogateescape") if sign else None


def filesystem(uri: str, attempts: int | None = None) -> tuple[FileSystem, str]:
    """The pyarrow filesystem of a canonical URI (one per store and process) and the path there.

    attempts: how often the S3 client tries a request, with exponential backoff between; by default ATTEMPTS, which
    bridges about half a minute.
    Endpoint and keys come from the environment (AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...).
    Raises UsageError for a local name that is not UTF-8, which pyarrow cannot open, for a scheme not in SCHEMES, and
    for gs:// without credentials.
    """
    scheme, attempts = scheme_of(uri), attempts or ATTEMPTS
    if scheme not in SCHEMES:
        raise UsageError(f"the scheme {scheme!r} is not supported: use a path or one of {', '.join(SCHEMES)}")
    if scheme == "file":
        try:
            return _connect("file", "", None, attempts), to_path(uri).decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError(f"the name of {uri} is not UTF-8: rename the file or folder") from None
    authority, _, path = uri.removeprefix(f"{scheme}://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    found = _connect(scheme, authority, endpoint if scheme == "s3" else None, attempts)
    path = unquote(path, errors="surrogateescape")
    if scheme == "hdfs":
        return found, f"/{path}"
    return found, f"{authority}/{path}" if path else authority


@lru_cache(maxsize=64)
def _connect(scheme: str, authority: str, endpoint: str | None, attempts: int) -> FileSystem:
    from pyarrow import fs

    if scheme == "file":
        return fs.LocalFileSystem()
    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region is None and endpoint is None:
            region = fs.resolve_s3_region(authority)
        # pyarrow reads AWS_ENDPOINT_URL and finds the bucket's region for a URI, but not for options.
        return fs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
            tls_ca_file_path=os.environ.get("AWS_CA_BUNDLE"),
            allow_delayed_open=True,  # a small object is one PUT
        )
    if scheme == "gs":
        if EMULATOR not in os.environ and not google_credentials():
            raise UsageError(
                "gs:// needs credentials: set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or run "
                "`gcloud auth application-default login`"
            )
        limit = timedelta(seconds=RETRY_TIME_LIMIT_S)  # the client's own default is a quarter of an hour
        return fs.GcsFileSystem(anonymous=EMULATOR in os.environ, retry_time_limit=limit)
    return fs.FileSystem.from_uri(f"hdfs://{authority}/")[0]


def google_credentials() -> bool:
    """Whether there is something that could give credentials for gs://: a file, or the metadata server of a machine
    at Google, which is asked for by a connection alone. (The client itself looks for one for a quarter of an hour.)"""
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return True
    if (Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser() / _DEFAULT_CREDENTIALS).is_file():
        return True
    host, _, port = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal").partition(":")
    with suppress(OSError), socket.create_connection((host, int(port or 80)), timeout=CONNECT_TIMEOUT_S):
        return True
    return False
