"""Importing torchvision and timm without torch's compiler: it takes two thirds of their time, and nothing compiles."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Final

_UTILS: Final = "torch._dynamo.utils"
_one = threading.Lock()


@contextmanager
def without_compiler() -> Iterator[None]:
    """What is imported in the block may mark functions for torch's compiler, which is imported when it is asked for.

    torchvision 0.26 and timm 1.0 mark some of theirs, and so bring in a thousand modules, SymPy among them. Whatever
    else a library takes from the compiler in the block it gets: the compiler is imported then.
    """
    import torch.compiler  # what it imports itself is left alone

    with _one:
        begins = _UTILS not in sys.modules  # else it is there, or another thread does this
        if begins:
            sys.modules[_UTILS], disable = _NotImported(_UTILS), torch.compiler.disable
            torch.compiler.disable = _as_it_is  # type: ignore[assignment]
    try:
        yield
    finally:
        if begins:
            with _one:
                torch.compiler.disable = disable
                _make_way()


def _as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """`torch.compiler.disable` where nothing compiles."""
    return function or (lambda one: one)


class _NotImported(ModuleType):
    """Stands for the compiler's utilities until anything is asked of them."""

    @staticmethod
    def is_compile_supported(device: str) -> Any:
        return import_module(_UTILS).is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _make_way()
        return getattr(import_module(_UTILS), name)


def _make_way() -> None:
    if isinstance(sys.modules.get(_UTILS), _NotImported):
        del sys.modules[_UTILS]
