import subprocess
import sys

EMBEDS = """
import sys
from clipfake import encoder
encoder.load({name!r}, batch_size=1).test_card_embedding()
assert not [name for name in sys.modules if name.startswith(("torch._dynamo", "sympy"))]
"""
WORKS_LATER = """
import sys, torch
from clipfake.images.without_compiler import without_compiler
own = torch.compiler.disable
with without_compiler():
    import torchvision
    assert "torch._dynamo" not in sys.modules
    marked = torch.compiler.disable(len), torch.compiler.disable(recursive=False)(len)
assert marked == (len, len) and torch.compiler.disable is own
assert torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), torch.tensor([[0.0, 0, 0, 4, 4]]), 2).shape == (1, 1, 2, 2)
assert torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
with without_compiler():
    import torch._dynamo.utils
    assert torch._dynamo.utils.counters is not None
"""
MORE = """
import sys, torch
from clipfake.images.without_compiler import without_compiler
with without_compiler():
    from torch._dynamo.utils import counters
    import torch._dynamo.config
    import torchvision
import torch._dynamo.utils as utils
assert counters is utils.counters and utils is sys.modules["torch._dynamo.utils"] is torch._dynamo.utils
"""


def runs(code: str) -> None:
    """In a process that has imported nothing yet."""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_encoder_is_loaded_and_computes_without_it() -> None:
    runs(EMBEDS.format(name="ViT-S-32-alt/untrained"))


def test_it_is_there_for_whoever_wants_it_afterwards() -> None:
    runs(WORKS_LATER)


def test_a_library_that_takes_more_of_it_gets_it() -> None:
    runs(MORE)
