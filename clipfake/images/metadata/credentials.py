"""Content credentials: what a C2PA manifest in a file states. Read offline; signature and trust are not checked."""

import io
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from c2pa import Context

MARK: Final = b"jumb"  # the box that every manifest store begins with (JUMBF, ISO 19566-5)
MAX_STEPS: Final = 8  # from an edited picture back to what it was made of
_FORMATS: Final = frozenset({"jpeg", "png", "webp", "gif", "tiff", "avif"})
_WHOLE: Final = "c2pa.created"  # of all actions only this one speaks of the whole picture
_PART: Final = {"trainedAlgorithmicMedia": "compositeWithTrainedAlgorithmicMedia"}
_METADATA: Final = ("stds.iptc", "c2pa.metadata", "cawg.metadata")


class Statement(NamedTuple):
    """source_type : last part of an IPTC or C2PA digital source type; generator : who made the claim; "" if not said"""

    source_type: str
    generator: str


def has_credentials(data: bytes) -> bool:
    """Whether there is something in `data` that looks like a C2PA manifest store."""
    return MARK in data and b"c2pa" in data


def statements(data: bytes, fmt: str) -> list[Statement]:
    """What the manifests say of the picture: the last editor's first, then that of the picture which it edited, ...

    An edit with generated content (a filled area) makes a composite of what was there before. Pictures placed beside
    others in it (`componentOf`) are not looked at. Raises whatever c2pa does where the data is bad.
    """
    if fmt not in _FORMATS or not has_credentials(data):
        return []
    import c2pa

    with c2pa.Reader(f"image/{fmt}", io.BytesIO(data), context=_offline()) as reader:
        return list(_statements(json.loads(reader.json())))


@cache
def _offline() -> "Context":
    """Nothing is fetched, and nothing verified: that would mean hashing the file and a list of whom to trust."""
    from c2pa import Context

    off = (
        "verify_after_reading", "verify_trust", "verify_timestamp_trust", "ocsp_fetch", "remote_manifest_fetch",
        "check_ingredient_trust",
    )  # fmt: skip
    return Context.from_dict({"verify": dict.fromkeys(off, False)})


def _statements(store: Mapping[str, Any]) -> Iterator[Statement]:
    manifests, label = store["manifests"], store["active_manifest"]
    for _ in range(MAX_STEPS):
        manifest = manifests.get(label)
        if manifest is None:
            return
        generator = _generator(manifest)
        yield from (Statement(kind, generator) for kind in _source_types(manifest))
        yield Statement("", generator)
        parents = (i for i in manifest.get("ingredients", ()) if i.get("relationship") == "parentOf")
        label = next((i.get("active_manifest") for i in parents), None)


def _generator(manifest: Mapping[str, Any]) -> str:
    infos = manifest.get("claim_generator_info") or [{}]
    return str(infos[0].get("name") or manifest.get("claim_generator") or "")


def _source_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    for assertion in manifest.get("assertions", ()):
        label, data = assertion["label"], assertion.get("data") or {}
        if label.startswith("c2pa.actions"):
            for action in data.get("actions", ()):
                kind = _last(action.get("digitalSourceType", ""))
                yield kind if action.get("action") == _WHOLE else _PART.get(kind, kind)
        elif label.startswith(_METADATA):
            yield _last(data.get("Iptc4xmpExt:DigitalSourceType", ""))


def _last(uri: object) -> str:
    return str(uri).rpartition("/")[2]
