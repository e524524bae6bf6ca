"""What the source system reported (Puglia, Giuliano, Landi: "Deepfake detection attraverso il modello CLIP", Salerno).

Its nine experiments are {image, sum, product} x {CycleGAN, ProGAN, both} of ArtiFact. In percent, as on its slides.
"""

from typing import NamedTuple

from clipfake.measures.classification import MEASURES

SLOTS = ("CycleGAN", "ProGAN", "both")
# Items of each data set, and the sizes of train, val and test: of the experiments on images, and of those with text.
TOTALS = {"CycleGAN": 15_210, "ProGAN": 40_000, "both": 55_210}
SIZES = {
    "image": {"CycleGAN": (10_647, 1_520, 3_043), "ProGAN": (28_000, 3_999, 8_001), "both": (38_647, 5_520, 11_043)},
    "text": {"CycleGAN": (10_647, 1_521, 3_042), "ProGAN": (28_000, 4_000, 8_000), "both": (38_647, 5_521, 11_042)},
}


class Reported(NamedTuple):
    """A figure of the source as a share; `inferred` where the slides do not state it as such."""

    value: float
    inferred: bool


class Course(NamedTuple):
    """How a training of the source went, in its slides' words of their figures; "" where they say nothing.

    start, end : the loss, as a distance; epochs : that were run; first : share of the variance that the first principal
    component holds; components : how many hold all of it
    """

    start: str = ""
    end: str = ""
    epochs: str = ""
    first: str = ""
    components: str = ""


# By variant and slot. Some of these texts are copied from one slide to another, so that single figures are soft.
COURSES = {
    ("image", "CycleGAN"): Course(end="validation 0.15, train 0.10 below", epochs="5 of 20"),
    ("image", "ProGAN"): Course(end="train and validation less than 0.03 apart"),
    ("image", "both"): Course(),
    ("sum", "CycleGAN"): Course(end="both 0.14", first="62 %", components="50"),
    ("sum", "ProGAN"): Course(end="both 0.14", epochs="20", first="70.5 %", components="20"),
    ("sum", "both"): Course(first="74 %", components="17"),
    ("product", "CycleGAN"): Course("0.18", "0.145 at epoch 20", "more than 32", "62 %", "50"),
    ("product", "ProGAN"): Course("0.195", "0.14", first="65 %", components="25 to 30"),
    ("product", "both"): Course(first="65 %", components="50"),
}


def reported(variant: str, slot: str, part: str, measure: str) -> Reported | None:
    """What the source reports of an experiment; None where it reports nothing.

    variant : "image", "sum" or "product"; slot : of SLOTS; part : "train", "val" or "test"; measure : of MEASURES

    Inferred are: that the two image tables are of train and test (integer confusion matrices of those sizes round to
    them), the means of their classes, and the accuracy of the text variants (on equal classes it is the mean recall).
    """
    if variant == "image":
        row = _IMAGE.get((slot, part))
        return None if row is None else Reported(_share(row[measure]), True)
    macro = dict(zip(("precision macro", "recall macro", "F1 macro"), _TEXT[variant, slot, part], strict=True))
    if measure == "accuracy":
        return Reported(_share(macro["recall macro"]), True)
    return Reported(_share(macro[measure]), False) if measure in macro else None


def _share(percent: float) -> float:
    return round(percent / 100, 6)


def _image_row(accuracy: float, *classes: float) -> dict[str, float]:
    """Precision, recall and F1 of real and of fake, in this order; the means are added."""
    values = [accuracy, *classes, *((classes[i] + classes[i + 3]) / 2 for i in range(3))]
    return dict(zip(MEASURES, values, strict=True))


_IMAGE = {
    ("CycleGAN", "train"): _image_row(95.3, 95.79, 94.81, 95.30, 94.87, 95.83, 95.35),
    ("CycleGAN", "test"): _image_row(94.0, 94.43, 93.56, 93.99, 93.62, 94.48, 94.04),
    ("ProGAN", "train"): _image_row(93.02, 92.93, 93.13, 93.03, 93.11, 92.91, 93.01),
    ("ProGAN", "test"): _image_row(91.85, 91.62, 92.13, 91.87, 92.08, 91.57, 91.83),
}

# Mean precision, recall, F1.
_TEXT = {
    ("sum", "CycleGAN", "train"): (94.61, 94.60, 94.60),
    ("sum", "CycleGAN", "val"): (93.68, 93.62, 93.62),
    ("sum", "CycleGAN", "test"): (93.50, 93.49, 93.49),
    ("sum", "ProGAN", "train"): (92.99, 92.98, 92.98),
    ("sum", "ProGAN", "val"): (92.25, 92.25, 92.25),
    ("sum", "ProGAN", "test"): (92.62, 92.61, 92.61),
    ("sum", "both", "train"): (91.46, 91.46, 91.46),
    ("sum", "both", "val"): (91.65, 91.65, 91.65),
    ("sum", "both", "test"): (91.25, 91.25, 91.25),
    ("product", "CycleGAN", "train"): (95.49, 95.48, 95.48),
    ("product", "CycleGAN", "val"): (95.39, 95.33, 95.33),
    ("product", "CycleGAN", "test"): (95.41, 95.40, 95.40),
    ("product", "ProGAN", "train"): (90.83, 90.82, 90.82),
    ("product", "ProGAN", "val"): (89.95, 89.95, 89.95),
    ("product", "ProGAN", "test"): (90.49, 90.49, 90.49),
    ("product", "both", "train"): (90.76, 90.75, 90.75),
    ("product", "both", "val"): (91.07, 91.07, 91.07),
    ("product", "both", "test"): (90.57, 90.57, 90.57),
}
