"""open_clip with this project's own architecture beside its own: what imports open_clip imports it from here."""

from pathlib import Path
from typing import Final

import open_clip

NANO: Final = "clipfake-nano"
_FOLDER: Final = Path(__file__).parents[1] / "nano"

open_clip.add_model_config(_FOLDER / f"{NANO}.json")

__all__ = ["NANO", "embedded_tags", "embedded_weights", "open_clip"]


def embedded_tags(arch: str) -> list[str]:
    """The weights that this package carries for an architecture."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors")) if arch == NANO else []


def embedded_weights(tag: str) -> Path:
    """The file of NANO's weights of that tag."""
    return _FOLDER / f"{tag}.safetensors"
