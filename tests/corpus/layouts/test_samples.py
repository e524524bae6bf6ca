"""How the members of a shard become samples."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus.layouts import samples as module
from clipfake.corpus.layouts.base import Item
from clipfake.corpus.layouts.samples import Samples
from clipfake.corpus.tally import Tally

SHARD = "file:///shard.tar"


def joined(members: list[str], tally: Tally | None = None) -> dict[str, str | None]:
    """The captions of images (*.jpg) by name; a text says its own name."""
    samples = Samples(SHARD, tally or Tally())
    found = []
    for name in members:
        if name.endswith(".jpg"):
            samples.add_image(Item(SHARD, "1-1", 1, name, 0))
        else:
            extension = name.rpartition(".")[2]
            data = json.dumps({"caption": name}) if extension == "json" else name
            samples.add_text(name, extension, data.encode())
        found += samples.full()
    found += samples.rest()
    return {item.member or "": item.caption for item in found}


def test_a_key_ends_at_the_first_dot() -> None:
    assert joined(["a/1.jpg", "a/1.txt", "b/1.jpg"]) == {"a/1.jpg": "a/1.txt", "b/1.jpg": None}
    assert joined(["1.left.jpg", "1.txt"]) == {"1.left.jpg": "1.txt"}
    assert joined(["1.jpg", "1.txt", "1.json"]) == {"1.jpg": "1.json"}


def test_of_several_images_each_has_the_text_of_its_name() -> None:
    tally = Tally()
    members = ["22.05.jpg", "22.06.jpg", "22.06.txt", "22.05.txt", "22.07.jpg", "22.txt"]
    captions = joined(members, tally)
    assert captions == {"22.05.jpg": "22.05.txt", "22.06.jpg": "22.06.txt", "22.07.jpg": None}
    assert tally.warnings == {"text without an image": 1}


@given(st.permutations([f"{number}.{kind}" for number in range(4) for kind in ("jpg", "txt")]))
def test_the_order_of_the_members_does_not_matter(members: list[str]) -> None:
    assert joined(members) == {f"{number}.jpg": f"{number}.txt" for number in range(4)}


@pytest.mark.parametrize(("limit", "value"), [("WINDOW_SAMPLES", 3), ("WINDOW_TEXT_BYTES", 30)])
def test_what_is_too_far_apart_is_counted(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, value)
    members = ["first.txt", *(f"{number}.{kind}" for number in range(9) for kind in ("jpg", "txt")), "first.jpg"]
    tally = Tally()
    captions = joined(members, tally)
    assert captions == {f"{number}.jpg": f"{number}.txt" for number in range(9)} | {"first.jpg": None}
    assert tally.warnings == {"text without an image": 1}


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '"\\ud800"', '{"caption": 3}', "1" * 5000])
def test_json_that_is_no_caption_says_nothing(text: str) -> None:
    samples = Samples(SHARD, Tally())
    samples.add_image(Item(SHARD, "1-1", 1, "a.jpg", 0))
    samples.add_text("a.json", "json", text.encode())
    assert [item.caption for item in samples.rest()] == [None]
