"""`clipfake similar` prints the items below each image, and wants an image before the folder."""

import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.errors import UsageError
from clipfake.explore import similar as library


def test_items_stand_below_their_image(monkeypatch):
    seen = []
    items = [{"cosine": 0.98765, "label": 1, "generator": "gan", "item_id": "file:///x"},
             {"cosine": 0.5, "label": None, "generator": None, "item_id": "file:///y"}]  # fmt: skip
    monkeypatch.setattr(
        library, "similar", lambda *given: seen.extend(given) or {"results": [{"image": "a.jpg", "items": items}]}
    )
    done = CliRunner().invoke(app, ["similar", "a.jpg", "b.jpg", "EMB", "--top", "2", "--encoder", "E"])
    assert done.exit_code == 0, done.output
    assert seen[:4] == [["a.jpg", "b.jpg"], "EMB", 2, "E"]
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["a.jpg"], ["0.9877", "fake", "gan", "file:///x"], ["0.5000", "unlabelled", "-", "file:///y"],
    ]  # fmt: skip


def test_a_folder_alone_is_refused():
    error = CliRunner().invoke(app, ["similar", "EMB"]).exception
    assert isinstance(error, UsageError)
    with pytest.raises(UsageError, match="one image or more, and then the folder"):
        raise error
