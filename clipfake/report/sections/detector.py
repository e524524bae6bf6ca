"""The detector: what it is, what it was trained on, and how good it was there."""

from collections.abc import Iterator

from clipfake.report.sections import BAD, CARE, GOOD, Doubt, Found, Section


def _doubts(found: Found) -> Iterator[Doubt]:
    bundle = found["bundle"]
    if bundle is None:
        yield CARE, "The detector was not found, so its error rates are not known here: name it with --detector."
        return
    if bundle["encoder"].get("weights") == "untrained":
        yield BAD, "The encoder has random weights: its scores say nothing about whether an image is generated."
    test = bundle["metrics"].get("test") or {}
    raw = bundle["baseline"].get("test") or {}
    if test.get("auc") is not None:
        text = f"On its own test images it has an AUC of {test['auc']:.3f}"
        better = raw.get("auc") is None or test["auc"] >= raw["auc"]
        yield (
            (GOOD, f"{text}; on newer generators it is usually worse.")
            if better
            else (CARE, f"{text}, less than a linear SVM on the raw embedding ({raw['auc']:.3f}).")
        )


SECTION = Section("detector", "Detector", 100, doubts=_doubts)
