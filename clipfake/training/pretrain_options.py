"""How a small CLIP is pretrained: the recipe of the package's own weights."""

import hashlib
import json
from dataclasses import asdict, dataclass, field

from clipfake.errors import UsageError
from clipfake.images.synthetic.options import GROUP, SEED, PairOptions
from clipfake.options import above, at_least, check, option


@dataclass(frozen=True)
class PretrainOptions:
    """arch : one of open_clip's models or this project's own. batch : pairs a step over all workers together.

    A small batch has few scenes, so that what tells its images apart is mostly what was done to them.

    crop : pixels a side that training sees of what the encoder will see, at a random place; 0 for all of it. Traces of
    decoders are everywhere in a picture, and a convolutional tower takes any size: so it sees four times as many.

    stop : the step after which it ends, though the learning rate falls as for all `steps`; 0 for none. What is learned
    late tells the decoders of the training better and others worse.

    workers : of Ray Train; each has `loaders` processes that make pairs. device : cpu or cuda
    """

    arch: str = option("clipfake-nano", "The model: one of open_clip's, or clipfake-nano.")
    pairs: PairOptions = field(default_factory=PairOptions)
    steps: int = option(18_000, "Optimiser steps.", check=at_least(1))
    stop: int = option(
        6_500,
        "End after this step, with the learning rate's schedule as for all --steps; 0: do not.",
        check=at_least(0),
    )
    batch: int = option(64, "Images a step, over all workers together.")
    learning_rate: float = option(2e-3, "Peak learning rate of AdamW.", check=above(0))
    crop: int = option(112, "Pixels a side that training sees of an image; 0 for all of it.", check=at_least(0))
    weight_decay: float = 0.05
    workers: int = option(1, "Workers of Ray Train.", check=at_least(1))
    loaders: int = option(1, "Processes a worker that make images.", check=at_least(0))
    device: str = option("cpu", "cpu or cuda.")
    seed: int = option(0, SEED)

    def __post_init__(self) -> None:
        check(self)
        if self.batch < 2 * GROUP or self.batch % (GROUP * self.workers):
            raise UsageError(f"the batch must be a multiple of {GROUP} x workers, and at least {2 * GROUP}")

    @property
    def last(self) -> int:
        """The number of steps that are made."""
        return min(self.stop or self.steps, self.steps)

    @property
    def recipe(self) -> str:
        """The command that makes the same weights again."""
        given = {
            "arch": self.arch, "steps": self.steps, "stop": self.stop, "batch": self.batch,
            "learning-rate": self.learning_rate, "crop": self.crop,
            "decoders": self.pairs.decoders, "photographs": self.pairs.photographs, "workers": self.workers,
            "loaders": self.loaders, "device": self.device, "seed": self.seed,
        }  # fmt: skip
        options = [f"--{name} {value}" for name, value in given.items() if value is not None]
        options += [f"--leave-out {family}" for family in self.pairs.leave_out]
        return " ".join(["python jobs/pretrain.py --out OUT", *options])

    @property
    def name(self) -> str:
        """Of the run: the same options go on where they stopped."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"pretrain-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
