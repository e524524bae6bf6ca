"""The name of an encoder, `ARCH/WEIGHTS` in open_clip's words, checked before anything is fetched or built."""

import difflib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from clipfake.errors import UsageError

UNTRAINED: Final = "untrained"
WEIGHTS_SUFFIXES: Final = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class EncoderSpec:
    """An open_clip architecture and where its weights come from.

    `weights` is, as `kind` says, one of open_clip's tags, that of weights which this package carries, "untrained"
    (seeded random weights), or the canonical URI of a weights file. `str(spec)` is the name that `parse` reads back.
    """

    arch: str
    weights: str
    kind: Literal["tag", "embedded", "untrained", "file"]

    def __str__(self) -> str:
        return f"{self.arch}/{self.weights}"

    @classmethod
    def parse(cls, text: str) -> "EncoderSpec":
        """Read `ARCH/TAG`, `ARCH/untrained` or `ARCH/URI` (a path will do).

        Raises UsageError for an architecture or tag that open_clip does not know (it names near ones), for a file that
        is no weights file, and for a tag that was trained with the other GELU than the architecture has: open_clip
        only warns of it and gives other embeddings.
        """
        from clipfake.encoder.open_clip.models import embedded_tags

        arch, _, weights = text.partition("/")
        _check_arch(arch)
        if weights == UNTRAINED:
            return cls(arch, weights, "untrained")
        if "/" in weights or weights.lower().endswith(WEIGHTS_SUFFIXES):
            return cls(arch, _weights_uri(weights), "file")
        tag = weights.lower().replace("-", "_")  # as open_clip does
        if tag in embedded_tags(arch):
            return cls(arch, tag, "embedded")
        _check_tag(arch, tag)
        return cls(arch, tag, "tag")


def is_arch(name: str) -> bool:
    """Whether open_clip, or this package, has an architecture of that name; told without importing open_clip."""
    return arch_config(name) is not None


def arch_config(name: str) -> dict[str, Any] | None:
    """open_clip's configuration of an architecture, read without importing open_clip; None for none of that name."""
    found = find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (found.submodule_search_locations or [])] if found else []
    for folder in (Path(__file__).parent / "nano", *folders):
        if name and (folder / f"{name}.json").exists():
            return json.loads((folder / f"{name}.json").read_text())
    return None


def _check_arch(arch: str) -> None:
    from clipfake.encoder.open_clip.models import open_clip

    known = open_clip.list_models()
    if arch not in known:
        lower = {name.lower(): name for name in known}
        near = [lower[name] for name in difflib.get_close_matches(arch.lower(), lower, n=3)]
        hint = f"near ones: {', '.join(near)}" if near else "open_clip.list_models() lists them"
        raise UsageError(
            f"open_clip has no architecture {arch!r}; {hint} (an encoder is ARCH/TAG, ARCH/untrained, "
            "ARCH/URI, timm/NAME, or the place of a packed file)"
        )


def _check_tag(arch: str, tag: str) -> None:
    from clipfake.encoder.open_clip.models import embedded_tags, open_clip

    tags = open_clip.list_pretrained_tags_by_model(arch) or embedded_tags(arch)
    if tag not in tags:
        known = f"the tags {', '.join(tags)}" if tags else "no tags"
        raise UsageError(
            f"{arch} has {known}, not {tag!r}; give one of open_clip's tags, {UNTRAINED!r}, "
            f"or the URI of a weights file ({', '.join(WEIGHTS_SUFFIXES)})"
        )
    if _tag_quick_gelu(arch, tag) != quick_gelu(arch):
        twin = arch.removesuffix("-quickgelu") if quick_gelu(arch) else f"{arch}-quickgelu"
        fits = tag in open_clip.list_pretrained_tags_by_model(twin) and _tag_quick_gelu(twin, tag) == quick_gelu(twin)
        advice = f"use {twin}/{tag}" if fits else "open_clip has no architecture that fits it, use another tag"
        trained, built = ("QuickGELU", "GELU") if _tag_quick_gelu(arch, tag) else ("GELU", "QuickGELU")
        raise UsageError(f"the weights {tag} were trained with {trained} and {arch} is built with {built}; {advice}")


def quick_gelu(arch: str) -> bool:
    """Whether the architecture is built with QuickGELU, x * sigmoid(1.702 x), as OpenAI's models are."""
    from clipfake.encoder.open_clip.models import open_clip

    return bool(open_clip.get_model_config(arch).get("quick_gelu", False))


def _tag_quick_gelu(arch: str, tag: str) -> bool:
    from clipfake.encoder.open_clip.models import open_clip

    return bool(open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False))


def _weights_uri(text: str) -> str:
    from clipfake.storage import uri

    place = uri.place(text)
    if PurePosixPath(place).suffix.lower() not in WEIGHTS_SUFFIXES:
        raise UsageError(
            f"{place} does not look like a weights file; give one that ends in {', '.join(WEIGHTS_SUFFIXES)}"
        )
    return place
