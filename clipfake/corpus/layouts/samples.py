"""The samples of a tar shard: images and the texts beside them, joined by their names within a bounded window."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from clipfake.corpus.layouts.base import Item
from clipfake.corpus.tally import Tally
from clipfake.storage import uri as uris

TEXTS: Final = ("json", "txt", "caption")  # extensions of what can hold a caption
MAX_TEXT_BYTES: Final = 1 << 20
WINDOW_SAMPLES: Final = 16_384  # more than an img2dataset shard has
WINDOW_TEXT_BYTES: Final = 64 << 20


@dataclass(slots=True)
class _Text:
    """What texts of one name say: a caption, and img2dataset's facts about the image."""

    caption: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    size: int = 0


@dataclass(slots=True)
class _Sample:
    """Members that share a name up to its first dot; texts by their name up to its last one."""

    images: list[Item] = field(default_factory=list)
    texts: dict[str, _Text] = field(default_factory=dict)


class Samples:
    """Joins the members of one shard, in the order in which each sample began.

    WebDataset's rule: members belong together where their names are equal up to the first dot. Where several images do
    so, a text goes to the image whose name it shares up to the last dot. What has no image is counted in the tally:
    also where more than WINDOW_SAMPLES samples or WINDOW_TEXT_BYTES of text stand between the two.
    """

    def __init__(self, shard: str, tally: Tally) -> None:
        self._shard = shard
        self._tally = tally
        self._open: dict[str, _Sample] = {}
        self._bytes = 0

    def add_image(self, item: Item) -> None:
        """Take an image; its member is its name."""
        assert item.member is not None
        self._sample(item.member).images.append(item)

    def add_text(self, name: str, extension: str, data: bytes) -> None:
        """Take a text. JSON that cannot be read says nothing."""
        text = self._sample(name).texts.setdefault(_stem(name), _Text())
        text.size += len(data)
        self._bytes += len(data)
        if extension != "json":
            text.caption = data.decode("utf-8", "replace").strip()
            return
        try:
            facts = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(facts, dict):
            text.facts = facts

    def full(self) -> Iterator[Item]:
        """The items of the oldest samples, as soon as the window has no room for them."""
        while self._open and (len(self._open) > WINDOW_SAMPLES or self._bytes > WINDOW_TEXT_BYTES):
            yield from self._finished(self._open.pop(next(iter(self._open))))

    def rest(self) -> Iterator[Item]:
        """The items that are left when the shard ends."""
        while self._open:
            yield from self._finished(self._open.pop(next(iter(self._open))))

    def _sample(self, name: str) -> _Sample:
        return self._open.setdefault(_key(name), _Sample())

    def _finished(self, sample: _Sample) -> Iterator[Item]:
        self._bytes -= sum(text.size for text in sample.texts.values())
        left = dict(sample.texts)
        for item in sample.images:
            assert item.member is not None
            own = sample.texts.get(_stem(item.member))
            left.pop(_stem(item.member), None)
            if own is None and len(sample.images) == 1:
                own = _together(left)
                left.clear()
            yield self._captioned(item, own or _Text())
        for stem in left:
            meaning = "its image is not there, or too far away, or one of several: it is nobody's caption"
            self._tally.warn("text without an image", uris.item_id(self._shard, stem), meaning)

    def _captioned(self, item: Item, text: _Text) -> Item:
        facts = text.facts
        if any(facts.get(f"original_{side}", facts.get(side)) != facts.get(side) for side in ("width", "height")):
            meaning = "img2dataset resized this image, which hides what generators leave; use resize_mode=no"
            self._tally.warn("re-encoded", uris.item_id(item.uri, item.member), meaning)
        caption = facts.get("caption") or text.caption
        return replace(item, caption=caption if isinstance(caption, str) else None)


def _together(texts: dict[str, _Text]) -> _Text:
    """All that the texts of a sample say; what comes later counts."""
    whole = _Text()
    for text in texts.values():
        whole.caption, whole.facts = text.caption or whole.caption, text.facts or whole.facts
    return whole


def _key(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.partition(".")[0])


def _stem(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.rpartition(".")[0] or base)
