"""A few properties out of an XMP packet, which a stranger wrote: no document type, so no entities; bounded."""

import contextlib
from typing import Final
from xml.parsers.expat import ExpatError, ParserCreate

MAX_PACKET: Final = 1 << 20  # bytes that are looked at
MAX_VALUE: Final = 4096  # characters kept of one property


def xmp_properties(packet: bytes, names: frozenset[str]) -> dict[str, str]:
    """The first value of each property in `names`, by its name without namespace, in lower case.

    XMP writes a simple property as an attribute, as an element's text or as its `rdf:resource`; of all three the first
    that is met counts. Never raises for what is in the packet: what came before its first fault is returned.
    """
    found: dict[str, str] = {}
    inside: list[tuple[str | None, list[str]]] = []  # of the open elements: the name if it is in `names`, text so far

    def keep(name: str | None, value: str) -> None:
        if name is not None and value:
            found.setdefault(name, value[:MAX_VALUE])

    def start(tag: str, attributes: dict[str, str]) -> None:
        name = _known(tag, names)
        inside.append((name, []))
        for key, value in attributes.items():
            keep(name if key.endswith(":resource") else _known(key, names), value)

    def end(_: str) -> None:
        name, pieces = inside.pop()
        keep(name, "".join(pieces).strip())

    def text(value: str) -> None:
        name, pieces = inside[-1]
        if name is not None:
            pieces.append(value)  # a long text comes in pieces

    def refuse(*_: object) -> None:
        raise ValueError("a document type")

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    with contextlib.suppress(ExpatError, ValueError, LookupError):  # LookupError: an encoding that Python does not know
        parser.Parse(packet[:MAX_PACKET], True)
    return found


def _known(name: str, names: frozenset[str]) -> str | None:
    local = name.rpartition(":")[2].lower()
    return local if local in names else None
