"""Files that a table names and that are not there: how that is said, with an example and a guess at the reason."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from clipfake.corpus.listing import stat_files
from clipfake.errors import ClipfakeError
from clipfake.storage import uri as uris

_SPELLINGS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("it is there with / in place of backslashes", lambda name: name.replace("\\", "/")),
    ("it is there with its accents in one piece (Unicode NFC)", lambda name: unicodedata.normalize("NFC", name)),
    ("it is there with its accents apart (Unicode NFD)", lambda name: unicodedata.normalize("NFD", name)),
    ("it is there without the blanks around its name", lambda name: "/".join(map(str.strip, name.split("/")))),
)


def said(count: int, files: int, example: str) -> str:
    """One line: "4 of 4 files are not there, such as ..."."""
    why = guess(example)
    return f"{count} of {files} files are not there, such as {uris.shown(example)!r}" + (f": {why}" if why else "")


def guess(uri: str) -> str | None:
    """What the name of a file that is not there may have been meant to be; None where no spelling of it is there."""
    scheme, _, rest = uris.shown(uri).partition("://")
    authority, _, name = rest.partition("/")
    for meaning, spell in _SPELLINGS:
        other = spell(name)
        if other != name and "\ufffd" not in other:
            with suppress(ClipfakeError):  # a store that does not answer now
                if next(stat_files(iter([f"{scheme}://{authority}/{quote(other)}"]))):
                    return meaning
    return None
