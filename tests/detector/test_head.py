"""The head is seeded, keeps distances at the start, and its output has length 1 whatever the encoder's cone."""

import numpy as np
import pytest
import torch

from clipfake.detector.head import Head, init_head


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
