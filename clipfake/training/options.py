"""How a detector is trained: the options of `train`, from a preset and what replaces its values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from clipfake.detector.calibrators.maps import METHODS
from clipfake.errors import UsageError
from clipfake.measures.split import SPLITS
from clipfake.training.head import HeadOptions
from clipfake.training.presets import preset


@dataclass(frozen=True)
class TrainOptions:
    """How a detector is trained.

    C : of the SVM; gamma is scikit-learn's "scale" on the head's output
    search : find C and gamma by cross-validation within the training part instead
    calibration : sigmoid, temperature or isotonic
    workers : of Ray Train; the result is the same up to rounding for any number
    split : a name of SPLITS
    views : whether the train part takes augmented views where there are any
    duplicates : keep, or before the split drop near and exact copies, or group them so that they stay on one side
    allow_shortcuts : train although the label can be told from the encoding alone
    preset, overridden : for the record: the preset, and which of its values an option replaced
    """

    head: HeadOptions = field(default_factory=HeadOptions)
    C: float = 1.0
    workers: int = 1
    num_cpus: int | None = None
    search: bool = False
    calibration: str = "sigmoid"
    split: str = "grouped"
    views: bool = True
    duplicates: str = "keep"
    allow_shortcuts: bool = False
    preset: str = "recommended"
    overridden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1 or self.C <= 0:
            raise UsageError("--workers must be at least 1 and --c above 0")
        if self.calibration not in METHODS:
            raise UsageError(f"there is no calibration {self.calibration!r}: choose one of {', '.join(METHODS)}")
        if self.split not in SPLITS:
            raise UsageError(f"there is no split {self.split!r}: choose one of {', '.join(SPLITS)}")
        if self.duplicates not in ("keep", "drop", "group"):
            raise UsageError(f"--duplicates is {self.duplicates!r}: give keep, drop or group")

    @classmethod
    def of_preset(cls, name: str, **given: Any) -> "TrainOptions":
        """The options of a preset. given : fields of this class and of HeadOptions; None leaves the preset's value."""
        known = preset(name).values
        given = {key: value for key, value in given.items() if value is not None}
        values = {**known, **given}
        if values["split"] == "source" and values.get("fusion", "image") != "image":
            values["split"] = "source-text"
        head = {field.name: values.pop(field.name) for field in fields(HeadOptions) if field.name in values}
        overridden = tuple(sorted(key for key in given if key in known and known[key] != given[key]))
        return cls(HeadOptions(**head), **values, preset=name, overridden=overridden)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "TrainOptions":
        """The options that `asdict` gave `record` of, as a bundle's provenance keeps them; what it lacks is default."""
        values, head = (
            {field.name: given[field.name] for field in fields(kind) if field.name in given}
            for kind, given in ((cls, record), (HeadOptions, record.get("head", {})))
        )
        return cls(**values | {"head": HeadOptions(**head), "overridden": tuple(record.get("overridden", ()))})
