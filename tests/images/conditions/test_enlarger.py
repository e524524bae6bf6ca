"""A user's own model enlarges pictures in every process that decodes, or is refused in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest

from clipfake.errors import UsageError
from clipfake.images.conditions.conditions import choose
from clipfake.images.conditions.enlarger import load_enlarger
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess
from clipfake.status import Status

OPTIONS = Preprocess((32, 32))


MODEL = """
from PIL import Image

def twice_as_blue(image, scale):
    red, green, blue = image.resize((round(image.width * scale), round(image.height * scale))).split()
    return Image.merge("RGB", (red, green, Image.new("L", blue.size, 255)))

def wrong_size(image, scale):
    return image

def breaks(image, scale):
    raise RuntimeError("no weights\\nhere")

not_a_function = 3
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "stranger_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger_model", raising=False)
    load_enlarger.cache_clear()
    return "stranger_model"


def test_a_users_model_enlarges_in_the_child_processes_too(model: str, picture: np.ndarray, encode) -> None:
    views = choose(["enlarge"], f"{model}:twice_as_blue")
    assert [view.name for view in views] == [f"enlarge-{k}-{model}:twice_as_blue" for k in (2, 3, 4)]
    data = encode(picture, "png")
    with DecoderPool(1, Limits(), OPTIONS, views) as pool:
        (found,) = pool.prepare([data])
    expected = prepare(data, Limits(), OPTIONS, views)
    assert found.status is Status.OK
    assert found.views is not None
    assert expected.views is not None
    assert np.array_equal(found.views, expected.views)
    assert found.views[..., 2].min() == 255
    assert found.views[..., 0].std() > 10


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stranger_model", "takes module:function"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("stranger_model:absent", "AttributeError"),
        ("stranger_model:not_a_function", "TypeError"),
        ("stranger_model:breaks", "RuntimeError: no weights here"),
        ("stranger_model:wrong_size", "RGB image of twice the size"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_one_line(model: str, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        load_enlarger(name)
    assert "\n" not in str(caught.value)
