"""The demo's decoders: they learn, add detail of their own, keep colours, and take any size of whole latents."""

import numpy as np
import pytest
import torch

from clipfake.images.synthetic.decoders import FAMILIES, REDUCTION, Resynthesiser, resynthesise, train_resynthesiser
from clipfake.images.synthetic.scenes import CROP, photograph_scenes


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decoder_keeps_the_size_and_the_mean_colour_of_what_it_is_given(family):
    torch.manual_seed(0)
    model = Resynthesiser(family, torch.nn.Conv2d(3, 32, REDUCTION, REDUCTION)).eval()
    pictures = torch.rand(2, 3, 4 * REDUCTION, 5 * REDUCTION)
    with torch.no_grad():
        made = model(pictures)
    assert made.shape == pictures.shape
    small = torch.nn.functional.avg_pool2d(pictures, REDUCTION)
    enlarged = torch.nn.functional.interpolate(small, size=pictures.shape[2:], mode="bilinear")
    torch.testing.assert_close(made.mean((2, 3)), enlarged.mean((2, 3)), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_decoder_learns_and_adds_detail_of_its_own(family: str) -> None:
    """Closer to the picture than an untrained one, and not just the enlarged small picture that it starts from."""
    rng = np.random.default_rng(0)
    crops = np.stack([scene.crop(rng) for scene in photograph_scenes()])
    made = resynthesise(train_resynthesiser(family, crops, 60, 0), crops).astype(float)
    untrained = resynthesise(train_resynthesiser(family, crops, 1, 0), crops).astype(float)
    small = torch.nn.functional.avg_pool2d(torch.from_numpy(crops).permute(0, 3, 1, 2).float(), REDUCTION)
    enlarged = torch.nn.functional.interpolate(small, scale_factor=REDUCTION, mode="bilinear")
    assert made.shape == crops.shape == (108, CROP, CROP, 3)
    assert np.abs(made - crops).mean() < np.abs(untrained - crops).mean()
    assert (
        np.abs(made - enlarged.permute(0, 2, 3, 1).numpy()).mean() > 2
    )  # grey levels: a decoder that died would give 0
    assert (
        np.abs(made.mean((1, 2)) - crops.mean((1, 2))).mean() < 0.5
    )  # colours are kept, but for what clamping cuts off
