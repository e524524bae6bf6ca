"""May these verdicts be trusted? What the numbers say against it and for it, each in one plain sentence."""

from collections.abc import Iterator, Mapping
from typing import Any

from clipfake.report.wording import share

UNFAMILIAR_TOO_MANY = 0.1  # beyond the 0.99 quantile, where 1 % is usual
UNFAMILIAR_MANY = 0.03
ERRORS_MANY = 0.05
BAD, CARE, GOOD = "bad", "care", "good"
_ANSWERS = {BAD: "No", CARE: "With care", GOOD: "Within its limits"}


def trust(found: Mapping[str, Any]) -> dict[str, Any]:
    """{"answer", "tone", "reasons": [{"tone", "text"}]}, the weightiest first. found : of `engine.report.summarise`"""
    order = [BAD, CARE, GOOD]
    reasons = sorted(
        ({"tone": tone, "text": text} for tone, text in _reasons(found)), key=lambda reason: order.index(reason["tone"])
    )
    tone = min((reason["tone"] for reason in reasons), key=order.index, default=GOOD)
    return {"answer": _ANSWERS[tone], "tone": tone, "reasons": reasons}


def _reasons(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    total = found["total"]
    if not all(check["holds"] for check in found["checks"]):
        yield BAD, "The counts do not reconcile: see “Do the counts agree?” below."
    yield from _of_detector(found["bundle"])
    yield from _of_thresholds(found)
    yield from _of_images(found)
    if found["drift"]["alarm"]:
        measures = ", ".join(one["measure"] for one in found["drift"]["findings"] if one["alarm"])
        yield CARE, f"The last run is unlike the runs before it ({measures}): see “Drift” below."
    if total["n"] and total["errors"] / total["n"] > ERRORS_MANY:
        yield (
            CARE,
            f"{share(total['errors'] / total['n'])} of the images have no verdict; they may not be like the others.",
        )


def _of_detector(bundle: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
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
            else (
                CARE,
                f"{text}, less than a linear SVM on the raw embedding ({raw['auc']:.3f}).",
            )
        )


def _of_thresholds(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    total, fpr = found["total"], found["flag"]["fpr"]
    if fpr is None:
        yield (
            BAD,
            "The detector has no threshold at a known false-positive rate: verdicts go by the sign of the decision.",
        )
        return
    if fpr > 0.01:
        yield (
            CARE,
            f"The strictest threshold lets {share(fpr)} of real images pass, so nothing is called more than unsure.",
        )
    if total["scored"] and total["flagged"] / total["scored"] <= fpr:
        yield (
            CARE,
            f"{share(total['flagged'] / total['scored'])} are flagged; were every image real, up to {share(fpr)} would "
            "be, by mistake. All of them may be false alarms.",
        )


def _of_images(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    measured, far = found["unfamiliar"]["measured"], found["unfamiliar"]["0.99"]
    if not measured:
        yield CARE, "How far the images are from what the detector was trained on was not measured."
        return
    text = f"{share(far / measured)} of the images are farther from its training data than 99 % of that data"
    if far / measured > UNFAMILIAR_TOO_MANY:
        yield BAD, f"{text}: for these its error rates mean little."
    elif far / measured > UNFAMILIAR_MANY:
        yield CARE, f"{text}; 1 % is usual."
    else:
        yield GOOD, f"{text}, about the usual 1 %."
