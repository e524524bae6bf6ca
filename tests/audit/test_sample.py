"""The sample's images: facts and thumbnails in the items' order, over as many actors as there are cores and chunks."""

from contextlib import nullcontext

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from clipfake.audit import sample
from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.onray.nodes import Node
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.unit_chunks import PIXELS
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

PICTURES = 5


@pytest.fixture
def manifest(tmp_path) -> str:
    """A manifest of PICTURES grey images, each in a shade of its own, and one file that is cut off."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(PICTURES):
        Image.new("RGB", (50 + i, 40), (40 * i,) * 3).save(folder / f"{i}.png")
    (folder / "9.png").write_bytes((folder / "0.png").read_bytes()[:60])
    out = uris.from_path(str(tmp_path / "manifest"))
    write_manifest(uris.from_path(str(folder)), "images", LayoutOptions(), Store(out))
    return out


def test_each_item_has_its_facts_and_its_thumbnail_in_order(manifest, tmp_path, monkeypatch):
    pools: list[int] = []

    def here(kind, arguments, method, inputs, actors, *, failed):
        pools.append(actors)
        actor = kind(*arguments)
        try:
            yield from (getattr(actor, method)(one) for one in inputs)
        finally:
            actor.close()

    monkeypatch.setattr(sample, "CHUNK_ROWS", 2)
    monkeypatch.setattr(sample, "connected", lambda num_cpus: nullcontext())
    monkeypatch.setattr(sample, "cluster_nodes", lambda: [Node(1.0), Node(64.0)])
    monkeypatch.setattr(sample, "map_actors", here)
    items = ds.dataset(tmp_path / "manifest").to_table().sort_by([("item_id", "descending")])
    came: list[int] = []
    found = sample.measured(manifest, items, ScanOptions(), lambda total: came.append(-total) or came.append)
    assert pools == [3]  # no more actors than chunks
    assert came == [-6, 2, 2, 2]
    assert found["item_id"].to_pylist() == items["item_id"].to_pylist()
    assert found["width"].to_pylist()[1:] == [54, 53, 52, 51, 50]
    assert found["status"].to_pylist()[1:] == ["ok"] * PICTURES
    assert found["status"].to_pylist()[0] in ("truncated", "corrupt")
    pixels = np.frombuffer(b"".join(found[PIXELS].to_pylist()), np.uint8).reshape(len(found), -1)
    assert pixels.shape[1] == 32 * 32 * 3
    assert [np.unique(row).tolist() for row in pixels] == [[0], [160], [120], [80], [40], [0]]
