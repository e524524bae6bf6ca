"""The head is seeded, keeps distances at the start, and its output has length 1 whatever the encoder's cone."""

import numpy as np
import pytest
import torch

from clipfake.detector.heads.linear_projection import FUSIONS, Head, head_of, init_fusion_head, init_head


@pytest.fixture
def cone():
    """Embeddings as an untrained encoder gives them: nearly the same vector for everything."""
    random = np.random.default_rng(0)
    return (np.eye(1, 96) + 0.003 * random.normal(size=(400, 96))).astype(np.float32)


def test_the_output_is_of_length_one_and_float32(cone):
    for dtype in (np.float16, np.float32):
        out = init_head(96, 128)(torch.tensor(cone.astype(dtype)))
        assert out.shape == (400, 128)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.norm(dim=1), torch.ones(400))


def test_it_is_linear_before_it_is_normalised(cone):
    head = init_head(96, 8, 3, cone)
    head.linear.bias.data.fill_(0.1)
    weight, bias, centre, scale = (
        array.detach().numpy().astype(np.float64)
        for array in (head.linear.weight, head.linear.bias, head.centre, head.scale)
    )
    expected = ((cone - centre) / scale) @ weight.T + bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(head(torch.tensor(cone)).detach(), expected, atol=1e-6)


def test_the_seed_alone_decides():
    torch.manual_seed(1)
    one = init_head(32, 16, seed=5).state_dict()
    torch.manual_seed(2)
    two = init_head(32, 16, seed=5).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["linear.weight"], init_head(32, 16, seed=6).state_dict()["linear.weight"])


def test_with_a_sample_distances_start_at_order_one_and_keep_their_order(cone):
    def distances(head):
        return torch.pdist(head(torch.tensor(cone[:100])).detach()).numpy()

    assert distances(init_head(96, 128)).mean() < 0.1
    spread = distances(init_head(96, 128, sample=cone))
    assert 1 < spread.mean() < 1.6
    z = (cone[:100] - cone.mean(0)) / cone.std(0)
    cosine = torch.pdist(torch.nn.functional.normalize(torch.tensor(z), dim=1)).numpy()
    assert np.corrcoef(spread, cosine)[0, 1] > 0.6


def test_a_dimension_that_does_not_vary_is_only_centred(cone):
    cone[:, 7] = 3
    head = init_head(96, 128, sample=cone)
    assert head.scale[7] == 1
    assert torch.isfinite(head(torch.tensor(cone))).all()


def test_sizes():
    assert (Head(48).in_dim, Head(48).out_dim) == (48, 128)


@pytest.fixture
def text():
    """Text embeddings of five captions."""
    return np.random.default_rng(1).normal(size=(5, 24)).astype(np.float32)[np.arange(400) % 5]


@pytest.mark.parametrize("fusion", ["sum", "product"])
def test_fusion_is_of_two_projections_of_length_one_and_is_of_length_one(cone, text, fusion):
    head = init_fusion_head(cone, text, fusion, 32, seed=4)
    fused = head(torch.tensor(cone), torch.tensor(text)).detach().numpy()

    def projected(part, x):  # written out in float64
        weight, bias, centre, scale = (
            array.detach().numpy().astype(np.float64)
            for array in (part.linear.weight, part.linear.bias, part.centre, part.scale)
        )
        out = ((x - centre) / scale) @ weight.T + bias
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    one, two = projected(head.image, cone), projected(head.text, text)
    expected = one + two if fusion == "sum" else one * two
    np.testing.assert_allclose(fused, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(head(torch.tensor(cone)).detach(), head.image(torch.tensor(cone)).detach())
    assert (head.in_dim, head.text_dim, head.out_dim) == (96, 24, 32)
    assert not torch.equal(head.image.linear.weight[:, :24], head.text.linear.weight)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_head_is_made_again_from_its_arrays(cone, text, fusion):
    head = init_fusion_head(cone, text, fusion, 16)
    again = head_of(head.state_dict(), fusion)
    inputs = [torch.tensor(cone)] if fusion == "image" else [torch.tensor(cone), torch.tensor(text)]
    assert torch.equal(again(*inputs), head(*inputs).detach())
    assert not again.training
    assert {name.partition(".")[0] for name in head.state_dict()} == (
        {"linear", "centre", "scale"} if fusion == "image" else {"image", "text"}
    )


def test_arrays_of_another_head_are_refused(cone, text):
    state = init_fusion_head(cone, text, "sum", 16).state_dict()
    for wrong, fusion in ((state, "image"), (state, "mean"), ({**state, "more": torch.ones(1)}, "sum")):
        with pytest.raises((ValueError, RuntimeError)):
            head_of(wrong, fusion)
    with pytest.raises(ValueError, match="needs text"):
        init_fusion_head(cone, None, "sum")


@pytest.mark.parametrize("fusion", ["sum", "product"])
def test_a_text_that_is_the_same_everywhere_is_projected_as_it_is(cone, text, fusion):
    """Centred, only rounding would be left of it, which differs between machines."""
    same = np.repeat(text[:1], 400, axis=0)
    head = init_fusion_head(cone, same, fusion, 16)
    moved = same + np.float32(1e-7)
    assert not head.text.centre.any()
    one, two = (head(torch.tensor(cone), torch.tensor(values)).detach() for values in (same, moved))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(400))


def test_without_standardising_centres_are_0_and_scales_1(cone, text):
    head = init_fusion_head(cone, text, "sum", 16, standardise=False)
    for part in (head.image, head.text):
        assert not part.centre.any()
        assert (part.scale == 1).all()
    assert init_fusion_head(cone, text, "sum", 16).image.centre.any()
