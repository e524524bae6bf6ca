import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from clipfake import encoder as encoders
from clipfake.encoder.protocol import family_of
from clipfake.encoder.timm import family
from clipfake.errors import UsageError
from clipfake.images.preprocess import preprocess

NAME = "vit_small_patch16_dinov3"
ENCODER = f"timm/{NAME}/untrained"


def test_names_that_begin_with_timm_are_its() -> None:
    assert family_of(f"timm/{NAME}") is family_of("timm/anything") is family


def test_embeddings_are_timms_own(pictures: list[Image.Image], tmp_path) -> None:
    """With timm's own transform and the weights of a file."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(11)
        network = timm.create_model(NAME, num_classes=0).eval()
        save_file(network.state_dict(), tmp_path / "w.safetensors")
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
        theirs = network(torch.stack([transform(picture) for picture in pictures[:3]]))
        theirs = torch.nn.functional.normalize(theirs, dim=-1).numpy()
    loaded = encoders.load(f"timm/{NAME}/{tmp_path / 'w.safetensors'}", batch_size=3)
    described = loaded.description
    pixels = np.stack([preprocess(picture, described.preprocess) for picture in pictures[:3]])
    np.testing.assert_allclose(loaded.encode(pixels), theirs, rtol=0, atol=1e-5)
    assert (described.arch, described.dim, described.trained) == (f"timm/{NAME}", 384, True)
    assert described.name == f"timm/{NAME}/{(tmp_path / 'w.safetensors').as_uri()}"


def test_untrained_is_always_the_same_and_says_so() -> None:
    one, two = encoders.describe(ENCODER), encoders.describe(ENCODER)
    assert one == two and not one.trained and one.name == ENCODER
    assert type(one).from_json(one.to_json()) == one
    assert encoders.load(one).description == one


@pytest.mark.parametrize(
    ("encoder", "feature", "says"),
    [
        ("timm/vit_small_patch16_dinov4/untrained", "projected", "near ones: vit_small_patch16_dinov3"),
        (ENCODER, "penultimate", "no projection"),
        (ENCODER, "blocks:13", "blocks: of 1 to 12"),
        ("timm/resnet10t/untrained", "projected", "sees 0.95|sees 0.875"),
        (f"timm/{NAME}/weights.pt", "projected", "ends in .safetensors"),
    ],
)
def test_what_is_not_there_is_one_line(encoder: str, feature: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        encoders.describe(encoder, feature)
    assert "\n" not in str(caught.value)


def test_it_has_no_text_tower() -> None:
    with pytest.raises(UsageError, match="no text tower"):
        encoders.describe_text(encoders.describe(ENCODER))
