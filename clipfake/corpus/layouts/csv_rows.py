"""Reading a CSV row by row from any place, with line numbers in its errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import IO, cast

from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

_SEPARATORS = (("\t", "tabs"), (";", "semicolons"), ("|", "|"))


class CsvFile:
    """A CSV with a header. Text is UTF-8 (a BOM is dropped); other bytes are kept as surrogates, for paths."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with _open(uri) as stream:
            if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise UsageError(f"{uris.shown(uri)} is UTF-16: save it as UTF-8")
        with _open(uri) as stream:
            try:
                header = next(csv.reader(_text(stream)), [])
            except csv.Error as error:
                raise UsageError(f"{uris.shown(uri)} is no CSV: {error}") from None
        self.columns = [name.strip() for name in header]
        if not self.columns:
            raise UsageError(f"{uris.shown(uri)} is empty: a CSV with a header is needed")

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(line number, {column: value}) of each row but blank ones. Raises UsageError for a malformed row."""
        with _open(self.uri) as stream:
            reader = csv.reader(_text(stream), strict=True)
            next(reader)
            try:
                for row in reader:
                    if not row:
                        continue
                    if len(row) != len(self.columns):
                        raise self.error(reader.line_num, f"{len(row)} values for {len(self.columns)} columns")
                    yield reader.line_num, dict(zip(self.columns, row, strict=True))
            except csv.Error as error:
                raise self.error(reader.line_num, str(error)) from None

    def described(self) -> str:
        """Its header and separator, for a message: "its header is 'path', 'label', separated by tabs; ..."."""
        sign, name = next((s for s in _SEPARATORS if s[0] in "".join(self.columns)), (",", "commas"))
        columns = [part.strip() for part in ",".join(self.columns).split(sign)]
        header = f"its header is {', '.join(map(repr, columns))[:500]}, separated by {name}"
        return header if sign == "," else f"{header}; save it with commas"

    def error(self, line: int, what: str) -> UsageError:
        """An error that names the file and the line."""
        return UsageError(f"{uris.shown(self.uri)} line {line}: {what}")


def clean(text: str | None) -> str | None:
    """Text as valid UTF-8, null where it is empty."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if text else None


def _open(uri: str) -> IO[bytes]:
    try:
        if uris.is_local(uri):
            return open(uris.to_path(uri), "rb")
        filesystem, path = uris.filesystem(uri)
        return cast(IO[bytes], filesystem.open_input_stream(path, buffer_size=1 << 20))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UsageError(f"cannot read {uris.shown(uri)}: {error.strerror}; give a CSV file") from None
    except OSError as error:
        raise ClipfakeError(f"cannot read {uris.shown(uri)}: {error}") from error


def _text(stream: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
