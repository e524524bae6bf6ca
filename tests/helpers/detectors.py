"""A complete detector that is made in a second: what it was fitted on are random vectors."""

from pathlib import Path

import numpy as np


def random_detector(name: str, folder: Path) -> Path:
    """Saves one for the embeddings of the encoder `name`; its folder."""
    import torch

    from clipfake.detector.bundle import Detector
    from clipfake.detector.classifiers.fitting import fit_calibrator, fit_svm
    from clipfake.detector.heads.linear_projection import init_head
    from clipfake.detector.unfamiliarity import fit_reference
    from clipfake.encoder import load
    from clipfake.encoder.test_card import TOLERANCE
    from clipfake.measures.thresholds import fit_thresholds
    from clipfake.storage.store import Store

    encoder = load(name)
    dim = encoder.description.dim
    random = np.random.default_rng(0)
    x = random.normal(size=(600, dim)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.arange(600) % 2
    head = init_head(dim, sample=x).eval().requires_grad_(False)
    projected = head(torch.from_numpy(x)).numpy()
    svm = fit_svm(projected[:300], y[:300])
    decision = svm.decision(torch.from_numpy(projected[300:])).numpy()
    detector = Detector(
        encoder=encoder.description.to_dict(),
        encoder_fingerprint=encoder.description.fingerprint,
        head=head,
        classifier=svm,
        calibrator=fit_calibrator(decision + y[300:], y[300:]),
        thresholds=fit_thresholds(decision[y[300:] == 0], targets=(0.1,)),
        reference=fit_reference(x[:300], y[:300], [None] * 300, x[300:]),
        test_card=encoder.test_card_embedding(),
        test_card_tolerance=TOLERANCE,
        metrics={"at_thresholds": {"0.1": {"tpr": 0.2, "fpr": 0.1, "fakes": 150, "reals": 150}}},
        provenance={"precision": "fp32"},
    )
    detector.save(Store(f"file://{folder}"))
    return folder
