"""Families of generators: what is of one architecture or lineage, so that leaving one out leaves out its kin too."""

import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from clipfake.errors import UsageError

# Family -> patterns of names, in lower case and without anything but letters and digits ("star_gan" is "stargan").
# By the architecture that a generator's paper states, as they are called in ArtiFact, ForenSynths, GenImage, UnivFD.
FAMILIES: dict[str, tuple[str, ...]] = {
    "progan": ("progan", "pggan", "progressivegan"),
    "stylegan": ("stylegan*", "whichfaceisreal", "sfhq"),  # the last two are collections of StyleGAN's faces
    "stargan": ("stargan*",),
    "biggan": ("biggan*",),
    "cyclegan": ("cyclegan*", "pix2pix*"),  # one code base: generators and discriminators of both are the same
    "gaugan": ("gaugan*", "spade", "oasis"),
    "ddpm": ("ddpm*", "iddpm*", "improveddiffusion", "denoisingdiffusion", "adm", "admg", "guided*", "palette"),
    "diffusion gan": ("denoisingdiffusiongan", "ddgan", "diffusiongan"),
    "latent diffusion": (
        "latentdiffusion*", "ldm*", "stablediffusion*", "sd[0-9]*", "sdv[0-9]*", "sdxl*", "sdturbo", "wukong",
    ),
    "glide": ("glide*",),
    "vq diffusion": ("vqdiffusion*", "vqdm"),
    "vqgan": ("tamingtransformer*", "taming", "vqgan*", "dalle", "dallemini"),
    "dall-e": ("dalle2*", "dalle3*"),
    "midjourney": ("midjourney*", "mj", "mjv[0-9]*"),
    "flux": ("flux*",),
    "imagen": ("imagen", "imagen[0-9]*"),
    # Not one architecture, but one kind of fake: edits of real photos.
    "inpainting": ("lama", "mat", "generativeinpainting"),
    "crn, imle": ("crn", "imle"),
}  # fmt: skip


def families(names: Iterable[str], own: Mapping[str, Iterable[str]] | None = None) -> dict[str, str]:
    """Name of a generator -> its family. A name that no family knows is a family of its own.

    own : family -> names or patterns (`*`, `?`, `[]`) as they are written; goes before FAMILIES
    """
    return {name: _family(name, own or {}) for name in sorted(set(names))}


def read_families(text: str) -> dict[str, list[str]]:
    """A user's families, JSON {"family": ["name or pattern", ...]}. Raises UsageError for anything else."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--families is no JSON ({error}): {_EXAMPLE}") from None
    if not isinstance(found, dict) or not all(isinstance(names, list) for names in found.values()):
        raise UsageError(f"--families: {_EXAMPLE}")
    if not all(isinstance(name, str) for names in found.values() for name in names):
        raise UsageError(f"--families: {_EXAMPLE}")
    return found


_EXAMPLE = 'give an object of lists of names, for example {"latent diffusion": ["sd15_*", "ldm_200"]}'


def _family(name: str, own: Mapping[str, Iterable[str]]) -> str:
    for family, patterns in own.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return family
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for family, patterns in FAMILIES.items():
        if any(fnmatchcase(plain, pattern) for pattern in patterns):
            return family
    return name
