"""Each miner against the definition written out in loops, and its gradient against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.detector.heads.triplet_loss import MINERS, PADDING, triplet_draws, triplet_loss

MARGIN = 0.2


def whole(x, labels, miner, margin=MARGIN, draws=None):
    """All rows are anchors, and the pool."""
    index = torch.arange(len(x))
    return triplet_loss(x, labels, index, x, labels, margin=margin, miner=miner, draws=draws)


def batch(seed, n=14, dim=5, padding=0):
    random = np.random.default_rng(seed)
    x = torch.tensor(random.normal(size=(n, dim)))
    labels = torch.tensor(random.integers(0, 2, n))
    labels[n - padding :] = PADDING
    return torch.nn.functional.normalize(x, dim=1), labels, triplet_draws(n, seed)


def expected(x, labels, miner, draws, margin=MARGIN):
    """(losses of all triplets the miner takes) by the definitions, one anchor after the other."""
    x, labels = x.numpy(), labels.tolist()
    losses, n = [], len(labels)
    for a in range(n):
        d = [float(np.sqrt(((x[a] - x[j]) ** 2).sum())) for j in range(n)]
        ps = [j for j in range(n) if j != a and labels[j] == labels[a] != PADDING]
        ns = [j for j in range(n) if PADDING != labels[j] != labels[a] != PADDING]
        if not ps or not ns:
            continue
        if miner == "random":
            p, q = ps[int(draws[a, 0] * len(ps))], ns[int(draws[a, 1] * len(ns))]
            losses.append(max(0, d[p] - d[q] + margin))
        elif miner == "batch-hard":
            losses.append(max(0, max(d[p] for p in ps) - min(d[q] for q in ns) + margin))
        elif miner == "semi-hard":
            for p in ps:
                farther = [d[q] for q in ns if d[q] > d[p]]
                losses.append(max(0, d[p] - (min(farther) if farther else max(d[q] for q in ns)) + margin))
        else:
            losses += [max(0, d[p] - d[q] + margin) for p in ps for q in ns]
    return losses


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_sums_are_those_of_the_definition(miner, padding, seed):
    x, labels, draws = batch(seed, padding=padding)
    losses = expected(x, labels, miner, draws)
    sums = whole(x, labels, miner, draws=draws)
    active = sum(loss > 0 for loss in losses)
    assert float(sums.loss) == pytest.approx(sum(losses))
    assert float(sums.terms) == (active if miner == "all-nonzero" else len(losses))
    assert (float(sums.active), float(sums.triplets)) == (active, len(losses))


def test_the_random_miner_is_torchs_triplet_margin_loss():
    x, labels, draws = batch(0, n=64)
    reals, fakes = (np.flatnonzero(labels == label) for label in (0, 1))
    same = [reals if label == 0 else fakes for label in labels]
    p = [(rows[rows != a])[int(draws[a, 0] * (len(rows) - 1))] for a, rows in enumerate(same)]
    n = [(rows := fakes if label == 0 else reals)[int(draws[a, 1] * len(rows))] for a, label in enumerate(labels)]
    sums = whole(x, labels, "random", draws=draws)
    reference = torch.nn.TripletMarginLoss(margin=MARGIN, eps=0)(x, x[p], x[n])
    torch.testing.assert_close(sums.loss / sums.terms, reference)


def test_the_distances_are_means_over_all_pairs():
    x, labels, _ = batch(1)
    sums = whole(x, labels, "semi-hard")
    distance, alike = torch.cdist(x, x), labels[:, None] == labels[None, :]
    off = ~torch.eye(len(x), dtype=torch.bool)
    torch.testing.assert_close(sums.positive_distance / sums.positives, distance[alike & off].mean())
    torch.testing.assert_close(sums.negative_distance / sums.negatives, distance[~alike].mean())


@pytest.mark.parametrize("miner", MINERS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 13))
def test_sums_over_disjoint_anchors_add_up(miner, seed, cut):
    x, labels, draws = batch(seed, padding=1)
    index = torch.arange(len(x))
    parts = [
        triplet_loss(x[i], labels[i], i, x, labels, margin=MARGIN, miner=miner, draws=draws)
        for i in (index[:cut], index[cut:])
    ]
    for total, *terms in zip(whole(x, labels, miner, draws=draws), *parts, strict=True):
        torch.testing.assert_close(sum(terms), total)


@pytest.mark.parametrize("miner", MINERS)
def test_the_gradient_is_that_of_finite_differences(miner):
    x, labels, draws = batch(2, n=9, dim=3, padding=1)
    assert torch.autograd.gradcheck(lambda x: whole(x, labels, miner, 0.7, draws).loss, x.requires_grad_(), eps=1e-7)


@pytest.mark.parametrize("miner", MINERS)
def test_identical_points_give_the_margin_and_a_finite_gradient(miner):
    x = torch.ones(8, 4, dtype=torch.float64, requires_grad=True)
    sums = whole(x, torch.tensor([0, 1] * 4), miner, draws=triplet_draws(8, 0))
    assert float(sums.loss.detach() / sums.terms) == pytest.approx(MARGIN)
    sums.loss.backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, -1], [-1, -1, -1]])
def test_without_positives_or_negatives_there_is_nothing(miner, labels):
    x = torch.randn(3, 4, requires_grad=True)
    sums = whole(x, torch.tensor(labels), miner, draws=triplet_draws(3, 0))
    assert [float(value.detach()) for value in sums] == [0] * 8
    sums.loss.backward()
    assert not x.grad.any()


@pytest.mark.parametrize("miner", ["semi-hard", "batch-hard", "all-nonzero"])
def test_lone_rows_do_not_disturb_the_others(miner):
    """Row 0 is the only real one: an anchor without a positive, and the negative of all others."""
    x, labels, _ = batch(3)
    labels[:] = 1
    labels[0] = 0
    x.requires_grad_()
    sums = whole(x, labels, miner)
    assert float(sums.loss.detach()) == pytest.approx(sum(expected(x.detach(), labels, miner, None)))
    sums.loss.backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad[0].any()


def test_ties_go_to_the_lower_index():
    """Two positives and two negatives at one distance: the gradient says which were taken."""
    x = torch.tensor([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], requires_grad=True)
    index = torch.tensor([0])
    labels = torch.tensor([0, 0, 0, 1, 1])
    triplet_loss(x[index].detach(), labels[index], index, x, labels, margin=0.5, miner="batch-hard").loss.backward()
    assert [bool(row.any()) for row in x.grad] == [False, True, False, True, False]


def test_draws_belong_to_their_row_whatever_the_number_of_rows():
    assert torch.equal(triplet_draws(100, 1, 2, 3)[:10], triplet_draws(10, 1, 2, 3))
    assert not torch.equal(triplet_draws(10, 1, 2, 3), triplet_draws(10, 1, 3, 2))


def test_draws_next_to_one_still_take_a_row():
    x, labels, _ = batch(4)
    draws = torch.full((len(x), 2), np.nextafter(1, 0), dtype=torch.float64)
    assert float(whole(x, labels, "random", draws=draws).loss) == pytest.approx(
        sum(expected(x, labels, "random", draws.numpy() - 1e-9))
    )


@pytest.mark.parametrize("miner", MINERS)
def test_a_row_that_comes_twice_is_not_its_own_positive(miner):
    """Anchors and pool hold rows 0 and 1 twice: the sums are those of anchors whose pool lacks the other copy."""
    x, labels, draws = batch(5)
    rows = torch.tensor([*range(14), 0, 1])
    x, labels = x[rows], labels[rows]
    draws = triplet_draws(16, 5)
    index = torch.arange(16)
    given = {"margin": MARGIN, "miner": miner}
    found = triplet_loss(x, labels, index, x, labels, draws=draws, pool_rows=rows, **given)
    total = np.zeros(len(found))
    for a in range(16):
        kept = (rows != rows[a]) | (index == a)
        place = int(kept[:a].sum())
        mine = triplet_loss(
            x[[a]], labels[[a]], torch.tensor([place]), x[kept], labels[kept], draws=draws[index[kept]], **given
        )
        total += np.array([float(value) for value in mine])
    np.testing.assert_allclose([float(value) for value in found], total, rtol=1e-9)
    assert float(found.positives) < float(whole(x, labels, miner, draws=draws).positives)


def test_random_without_draws_says_so():
    x, labels, _ = batch(0)
    with pytest.raises(ValueError, match="draws"):
        whole(x, labels, "random")
