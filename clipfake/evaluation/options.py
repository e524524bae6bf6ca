"""The options of `evaluate`: which protocols, and which measurements that read the images again."""

from dataclasses import dataclass

from clipfake.errors import UsageError
from clipfake.options import num_cpus, option

PROTOCOLS = ("own", "matrix", "leave-generator", "leave-family", "official")


def _parts(given: list[str]) -> tuple[str, ...]:
    """Values that are repeated, separated by commas, or both."""
    return tuple(part for text in given for part in text.split(",") if part)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"--seeds takes whole numbers with commas between, not {text!r}") from None


@dataclass(frozen=True)
class EvaluateOptions:
    """What is evaluated.

    protocols : names of PROTOCOLS
    seeds : of split, head and batches of what is retrained; empty is the detector's own seed
    by_family : whether the matrix is of families
    families : place of a JSON file with families of one's own
    """

    protocols: tuple[str, ...] = option(
        ("own",),
        "own, matrix, leave-generator, leave-family or official; can be given several times or comma-separated.",
        flag="--protocol",
        given_as=list[str],
        parse=_parts,
    )
    seeds: tuple[int, ...] = option(
        (),
        "Seeds to retrain with, comma-separated; gives mean and deviation. By default the detector's own seed.",
        given_as=str,
        parse=_seeds,
    )
    by_family: bool = option(False, "Make the matrix by families of generators.", flag="--by-family")
    families: str | None = option(
        None, 'Your own families of generators: a JSON file {"family": ["name or pattern", ...]}.'
    )
    num_cpus: int | None = num_cpus()

    def __post_init__(self) -> None:
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise UsageError(f"there is no protocol {name!r}: choose from {', '.join(PROTOCOLS)}")
        if self.by_family and "matrix" not in self.protocols:
            raise UsageError("--by-family is about the matrix: give --protocol matrix too, or leave it out")
        if self.seeds and set(self.protocols) <= {"own"}:
            raise UsageError("--seeds is about protocols that retrain; own does not: give another --protocol too")


@dataclass(frozen=True)
class RereadOptions:
    """Which measurements read the images again.

    adversarial : how many images are attacked, None for no attack; transfer : also by who does not have the detector
    """

    robustness: bool = option(
        False,
        "Measure on the images under many conditions (JPEG, blur, ...); needs --out; run again, it goes on.",
        flag="--robustness",
    )
    conditions: tuple[str, ...] = option(
        (),
        "Kinds (jpeg) or conditions (jpeg-45, resize-0.5-lanczos) of --robustness, comma-separated; by default all.",
        given_as=list[str],
        parse=_parts,
    )
    enlarger: str = option(
        "",
        "Your own enlarger for --robustness: module:function, which takes and gives a PIL image in RGB.",
        given_as=str,
    )
    adversarial: int | None = option(None, "Attack this many images by gradient, half of them of each class, e.g. 100.")
    transfer: bool = option(
        False,
        "Attack them also through a model of the attacker's own, trained by the same encoder on what is not attacked.",
        flag="--transfer",
    )

    def __post_init__(self) -> None:
        if (self.conditions or self.enlarger) and not self.robustness:
            raise UsageError("--conditions and --enlarger say what --robustness measures: give it too")
        if self.transfer and self.adversarial is None:
            raise UsageError("--transfer is a way to attack the images of --adversarial: say how many, for example 100")
