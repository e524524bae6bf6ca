"""`clipfake pretrain`, which makes the package's own weights: a few lines over clipfake.training.pretraining."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json, NumCpus
from clipfake.training.pretrain_options import PretrainOptions


def pretrain(
    out: Annotated[str, typer.Option(help="Folder for weights.safetensors, history.json and checkpoints.")],
    options: PretrainOptions,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Train a small CLIP on images that the job makes, and on captions that say what was done to them."""
    from clipfake.training.pretraining import pretrain as run

    last = run(out, options, num_cpus)
    if as_json:
        print_json(last)
        return
    print(f"{out}/weights.safetensors: use it as --encoder {options.arch}/{out}/weights.safetensors")
    print(f"loss {last['loss']:.3f}; {last['told_apart']:.3f} of the pictures are told from their counterparts")
