"""The attacker's model is of what neither the detector was trained on nor is attacked."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from training_rows import labelled

from clipfake.errors import UsageError
from clipfake.evaluation import surrogate as module


def test_it_learns_from_no_unit_that_is_attacked_and_no_item_that_is_not_given(monkeypatch):
    data = labelled(0, 400)
    monkeypatch.setattr(module, "read_labelled", lambda place: {"emb": data}[place])
    attacked = data.unit[:100]
    found, about = module.surrogate("emb", data.item_id[:300].tolist(), attacked)
    assert (about["reals"], about["fakes"]) == (100, 100)
    mine = data.take(np.arange(100, 300))
    monkeypatch.setattr(module, "read_labelled", lambda place: mine)
    same, _ = module.surrogate("emb", mine.item_id.tolist(), np.array([], object))
    assert torch.equal(found.coef, same.coef)
    rest = data.take(np.arange(300, 400))
    assert roc_auc_score(rest.y, found.decision(torch.from_numpy(rest.x)).numpy()) > 0.75


def test_too_few_are_refused(monkeypatch):
    data = labelled(0, 60)
    monkeypatch.setattr(module, "read_labelled", lambda place: data)
    with pytest.raises(UsageError, match="9 reals and 9 fakes are left: attack fewer"):
        module.surrogate("emb", data.item_id.tolist(), data.unit[:42])
