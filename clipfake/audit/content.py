"""What of the content tells the label without any trace of generation: base names, and naive baselines on pixels."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipfake.measures.cross_validation import FoldAuc, cross_validated

THUMBNAIL = 32  # pixels an edge, of what the baselines see
_BLUR = 8 * THUMBNAIL / 224  # a sigma of 8 pixels on the 224 that CLIP sees


def name_pattern(stems: Sequence[str], y: np.ndarray, fold: np.ndarray) -> FoldAuc:
    """How well base names tell the label: a logistic regression on their character n-grams, 1 to 4 long.

    stems : base names without extension, no folders; a digit counts as a digit, whichever it is, so that what is
    learned is the pattern and not the number
    """
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    patterns = [re.sub(r"\d", "0", f"^{stem[:100]}$") for stem in stems]
    grams = HashingVectorizer(analyzer="char", ngram_range=(1, 4), n_features=1 << 16, lowercase=False)
    return cross_validated(LogisticRegression(max_iter=500), grams.transform(patterns), y, fold)[0]


def naive_baselines(thumbnails: np.ndarray, y: np.ndarray, fold: np.ndarray) -> dict[str, FoldAuc]:
    """How well three things tell the label that no generator's trace survives: what they see is the subject.

    thumbnails : (N, 32, 32, 3) uint8, images squashed to a square

    The mean colour, the image at 8 x 8, and under a blur of sigma 8 at 224 x 224. Each is judged by a logistic
    regression on an approximate RBF kernel (Nystroem, 256 landmarks) of its standardised pixels.
    """
    from scipy.ndimage import gaussian_filter
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = len(thumbnails)
    means = thumbnails.mean(axis=(1, 2), dtype=np.float32)
    blocks = thumbnails.reshape(rows, 8, THUMBNAIL // 8, 8, THUMBNAIL // 8, 3).mean(axis=(2, 4), dtype=np.float32)
    # Every second pixel: the blur leaves nothing finer.
    blurred = (
        np.stack([gaussian_filter(image, (_BLUR, _BLUR, 0))[::2, ::2] for image in thumbnails]) if rows else blocks
    )
    seen = {"mean colour": means, "8x8 thumbnail": blocks, "strong blur": blurred}
    model = make_pipeline(
        StandardScaler(), Nystroem(n_components=256, random_state=0), LogisticRegression(max_iter=500)
    )
    return {
        name: cross_validated(_with_gamma(model, x), x, y, fold)[0]
        for name, x in ((name, x.reshape(rows, -1).astype(np.float32)) for name, x in seen.items())
    }


def _with_gamma(model: Any, x: np.ndarray) -> Any:
    """The kernel's width: 1 / features, scikit-learn's "scale" of standardised features; few rows, few landmarks."""
    return model.set_params(nystroem__gamma=1 / x.shape[1], nystroem__n_components=min(256, len(x) // 2))
