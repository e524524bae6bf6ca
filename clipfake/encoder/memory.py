"""How much memory an encoder needs, reckoned from its tower: parameters, and what a batch leaves between two layers."""

from functools import lru_cache
from typing import Any, Final

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import family

PROCESS: Final = 2 << 30  # bytes: a process with torch and its libraries, its decoding children, its chunks
_BYTES: Final = {"fp32": 4, "bf16": 2, "fp16": 2}
_AT_ONCE: Final = 4  # tensors of the largest layer's size that live beside one another in a block: an estimate


def parameters_of(described: EncoderDescription) -> int:
    """How many parameters the part of the tower has that the feature needs."""
    return _sizes(described)[0]


def peak_memory(described: EncoderDescription, precision: Precision, batch_size: int) -> int:
    """Bytes that a process with this encoder needs at most, on a CPU.

    Weights are in fp32 twice while they are loaded; after that a batch's activations are beside them. The text tower
    of a whole model's file is loaded too, and is not counted.
    """
    parameters, largest = _sizes(described)
    running = (parameters + _AT_ONCE * largest * batch_size) * _BYTES[precision]
    return PROCESS + max(2 * 4 * parameters, running)


@lru_cache(maxsize=16)
def _sizes(described: EncoderDescription) -> tuple[int, int]:
    """Parameters, and the numbers in the largest output of any layer for one image; nothing is allocated for it."""
    import torch

    from clipfake.encoder.packed.vision_transformer import VisionTransformer

    tower = family(described.family).skeleton(described)
    parameters, largest = sum(parameter.numel() for parameter in tower.parameters()), 0
    if isinstance(tower, VisionTransformer):  # it need not run, for which torch imports its compiler
        return parameters, tower.largest_output

    def note(module: Any, inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel())

    for module in tower.modules():
        module.register_forward_hook(note)
    with torch.inference_mode():
        tower(torch.empty(1, 3, *described.preprocess.size, device="meta"))
    return parameters, largest
