"""How a detector is trained: the options of `train`, from a preset and what replaces its values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from clipfake.errors import UsageError
from clipfake.options import above, at_least, check, num_cpus, one_of, option
from clipfake.training.presets import preset


@dataclass(frozen=True)
class HeadOptions:
    """How the head is trained.

    margin : of the triplet loss, in units of distance between unit vectors
    batch : rows a step, over all workers together
    batches : "balanced" over class and generator, or "shuffled": every row once an epoch, as often as its kind is
    standardise : each dimension of the embeddings first, by mean and deviation of the train part
    stop : what of the rows that stop the training must improve: "auc" or "loss"
    """

    out_dim: int = 128
    miner: str = option(
        "semi-hard", "How triplets are chosen: random, semi-hard, batch-hard or all-nonzero.", unset=True
    )
    margin: float = option(0.2, "Margin of the triplet loss.", check=above(0), unset=True)
    batch: int = 128
    batches: str = "balanced"
    epochs: int = option(40, "Number of epochs, at most.", check=at_least(1), unset=True)
    patience: int = option(
        5, "Epochs without a better validation AUC after which training stops.", check=at_least(1), unset=True
    )
    learning_rate: float = option(1e-3, "Learning rate of Adam.", check=above(0), unset=True)
    seed: int = option(0, "Seed of the split, the head and the batches.")
    fusion: str = option("image", "image, or the sum or product of image and text embeddings.")
    standardise: bool = True
    stop: str = "auc"

    def __post_init__(self) -> None:
        from clipfake.detector.heads.linear_projection import FUSIONS
        from clipfake.detector.heads.triplet_loss import MINERS

        check(self)
        if self.fusion not in FUSIONS:
            raise UsageError(f"there is no fusion {self.fusion!r}: choose one of {', '.join(FUSIONS)}")
        if self.miner not in MINERS:
            raise UsageError(f"there is no miner {self.miner!r}: choose one of {', '.join(MINERS)}")
        if self.out_dim < 2:
            raise UsageError(f"the head's output must have at least 2 dimensions, not {self.out_dim}")


def _a_model(name: str) -> str | None:
    from clipfake.training.models import RECIPES  # it takes these options

    return one_of("auto", *RECIPES)(name)


@dataclass(frozen=True)
class TrainOptions:
    """How a detector is trained.

    model : what decides
    cross_fitted : fit on train and validation rows, with calibration and thresholds of out-of-fold decisions of these;
        else fit on train and calibrate on validation
    C : of the SVM; gamma is scikit-learn's "scale" on the head's output. The linear model finds its own unless it is
        given
    search : find C and gamma by cross-validation within the training part instead
    workers : of Ray Train; the result is the same up to rounding for any number
    split : a name of SPLITS
    preset, overridden : for the record: the preset, and which of its values an option replaced
    """

    head: HeadOptions = field(default_factory=HeadOptions)
    model: str = option(
        "auto",
        "linear (a linear SVM on standardised embeddings), rbf (an RBF SVM on the embeddings), head (a triplet head "
        "and an RBF SVM), or auto: the simplest that does about as well as the best on generators left out.",
        check=_a_model,
        unset=True,
    )
    C: float = option(1.0, "C of the SVM.", flag="--c", check=above(0), unset=True)
    workers: int = option(1, "Number of workers of Ray Train.", check=at_least(1))
    num_cpus: int | None = num_cpus()
    search: bool = option(
        False, "Find C and gamma by cross-validation within the training part.", flag="--search", unset=True
    )
    calibration: str = option("sigmoid", "How probabilities are made: sigmoid, temperature or isotonic.", unset=True)
    split: str = option(
        "grouped",
        "grouped (what belongs together stays together), or official (the column split of the data set).",
        unset=True,
    )
    views: bool = option(True, "Train on augmented views where there are any.", flag="--views/--no-views", unset=True)
    duplicates: str = option(
        "keep",
        "What to do with copies before the split: keep, drop, or group (all copies in the same part).",
        check=one_of("keep", "drop", "group"),
    )
    allow_shortcuts: bool = option(
        False, "Train although the encoding alone gives the label away.", flag="--allow-shortcuts"
    )
    cross_fitted: bool = True
    preset: str = option(
        "recommended", "recommended, or source (a published system). Other options override its values."
    )
    overridden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from clipfake.detector.calibrators.maps import METHODS
        from clipfake.measures.split import OFFICIAL, SPLITS

        check(self)
        if self.calibration not in METHODS:
            raise UsageError(f"there is no calibration {self.calibration!r}: choose one of {', '.join(METHODS)}")
        if self.split not in (*SPLITS, OFFICIAL):
            raise UsageError(f"there is no split {self.split!r}: choose one of {', '.join((*SPLITS, OFFICIAL))}")
        if self.model != "head" and (self.search or self.head.fusion != "image"):
            raise UsageError("--search and --fusion are for --model head: leave them out, or choose that model")

    @classmethod
    def of_given(cls, preset: str, **given: Any) -> "TrainOptions":
        """The options of the command line. Raises UsageError where one of them replaces another."""
        if given.get("search") and "C" in given:
            raise UsageError("--search finds C itself: leave out --c or --search")
        return cls.of_preset(preset, **given)

    @classmethod
    def of_preset(cls, name: str, **given: Any) -> "TrainOptions":
        """The options of a preset. given : fields of this class and of HeadOptions; None leaves the preset's value."""
        known = preset(name).values
        given = {key: value for key, value in given.items() if value is not None}
        if given.get("search") or given.get("fusion", "image") != "image":
            given = {"model": "head", **given}  # what only a head has asks for one
        values = {**known, **given}
        if values["split"] == "source" and values.get("fusion", "image") != "image":
            values["split"] = "source-text"
        head = {field.name: values.pop(field.name) for field in fields(HeadOptions) if field.name in values}
        overridden = tuple(sorted(key for key in given if key in known and known[key] != given[key]))
        return cls(HeadOptions(**head), **values, preset=name, overridden=overridden)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "TrainOptions":
        """The options that `asdict` gave `record` of, as a bundle's provenance keeps them; what it lacks is default.

        A record without a model is from when there was a head always.
        """
        record = {"model": "head", **record}
        values, head = (
            {field.name: given[field.name] for field in fields(kind) if field.name in given}
            for kind, given in ((cls, record), (HeadOptions, record.get("head", {})))
        )
        return cls(**values | {"head": HeadOptions(**head), "overridden": tuple(record.get("overridden", ()))})
