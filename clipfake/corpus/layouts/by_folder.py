"""Layouts whose rule is a folder's name: forensynths, genimage, unifd-diffusion, cifake, and `folders` by globs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from clipfake.corpus.layouts.base import FAKE, REAL, Item, Layout, LayoutOptions
from clipfake.corpus.listing import walk
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris


@dataclass(frozen=True, slots=True)
class Labels:
    """What a rule says of the files directly in a folder."""

    label: int
    target: str
    generator: str
    category: str | None = None
    split: str | None = None


# From the names of the folders that lead to a file, the corpus's own first, to its labels; None where it says nothing.
Rule = Callable[[tuple[str, ...]], Labels | None]

_SPLITS = ("train", "val", "test")
_FORENSYNTHS = {"0_real": REAL, "1_fake": FAKE}
_FORENSYNTHS_SETS = (
    *("progan", "stylegan", "stylegan2", "biggan", "cyclegan", "stargan", "gaugan"),
    *("deepfake", "seeingdark", "san", "crn", "imle", "whichfaceisreal"),
)
_GENIMAGE = {"nature": REAL, "ai": FAKE}
_CIFAKE = {"REAL": REAL, "FAKE": FAKE}
_UNIFD_REAL = ("imagenet", "laion")
_UNIFD_FAKE = ("guided", "ldm_200", "ldm_200_cfg", "ldm_100", "glide_100_27", "glide_50_27", "glide_100_10", "dalle")


def forensynths(parts: tuple[str, ...]) -> Labels | None:
    """CNNDetection: `[train|val|test]/<generator>[/<class>]/{0_real,1_fake}`.

    Without a generator's folder (CNNDetection's own training set, `train/<class>/`), the generator is progan. The
    corpus is the folder of the splits, of the generators, or one of its test sets.
    """
    if len(parts) < 2 or parts[-1] not in _FORENSYNTHS:
        return None
    at = next((i for i in reversed(range(len(parts) - 1)) if parts[i] in _SPLITS), None)
    split = None if at is None else parts[at]
    names = parts[0 if parts[0] in _FORENSYNTHS_SETS else 1 : -1] if at is None else parts[at + 1 : -1]
    if len(names) == 1 and split in ("train", "val") and names[0] != "progan":
        names = ("progan", names[0])
    if len(names) not in (1, 2):
        return None
    return Labels(_FORENSYNTHS[parts[-1]], parts[-1], names[0], names[1] if len(names) == 2 else None, split)


def genimage(parts: tuple[str, ...]) -> Labels | None:
    """GenImage: `<generator>/{train,val}/{nature,ai}`; names such as imagenet_ai_0419_biggan lose their prefix."""
    if len(parts) < 3 or parts[-1] not in _GENIMAGE or parts[-2] not in ("train", "val"):
        return None
    generator = re.sub(r"^imagenet_(ai_\d+_)?", "", parts[-3])
    return Labels(_GENIMAGE[parts[-1]], parts[-1], generator, split=parts[-2])


def unifd_diffusion(parts: tuple[str, ...]) -> Labels | None:
    """UnivFD's diffusion sets: `{imagenet,laion}/0_real` and `{guided,ldm_200,...}/1_fake`, and folders below those.

    imagenet is the real side of guided, laion that of the others.
    """
    for above, here in pairwise(parts):
        if (here == "0_real" and above in _UNIFD_REAL) or (here == "1_fake" and above in _UNIFD_FAKE):
            return Labels(_FORENSYNTHS[here], here, above)
    return None


def cifake(parts: tuple[str, ...]) -> Labels | None:
    """CIFAKE: `{train,test}/{REAL,FAKE}`; CIFAR-10 against Stable Diffusion 1.4, so that is the generator of both."""
    if len(parts) < 2 or parts[-1] not in _CIFAKE or parts[-2] not in ("train", "test"):
        return None
    return Labels(_CIFAKE[parts[-1]], parts[-1], "stable_diffusion_1_4", split=parts[-2])


def by_globs(options: LayoutOptions) -> Rule:
    """`--real GLOB` and `--fake GLOB`: the innermost folder that a glob matches decides for all below it.

    A glob without `/` matches a folder's name, one with `/` its path from the corpus. The generator is the folder
    around the matched one, or the matched one where that lies directly in the corpus.
    """
    if not options.real or not options.fake:
        raise UsageError("the layout folders needs at least one --real GLOB and one --fake GLOB of folders")

    def rule(parts: tuple[str, ...]) -> Labels | None:
        for end in range(len(parts), 1, -1):
            path = "/".join(parts[1:end])
            real, fake = (
                [glob for glob in globs if fnmatchcase(path if "/" in glob else parts[end - 1], glob.strip("/"))]
                for globs in (options.real, options.fake)
            )
            if real and fake:
                raise UsageError(f"the folder {path!r} matches both --real {real[0]} and --fake {fake[0]}")
            if real or fake:
                generator = parts[end - 2] if end > 2 else parts[end - 1]
                return Labels(FAKE if fake else REAL, path, generator)
        return None

    return rule


def list_by(rule: Rule, place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    """The files in the folders that the rule labels; the others are counted as skipped."""
    top = uris.shown(place.rpartition("/")[2])
    for folder in walk(place, tally, allow_outside=options.allow_outside):
        below = uris.shown(folder.uri[len(place) :]).strip("/")
        labels = rule((top, *below.split("/")) if below else (top,))
        for entry in folder.files:
            if labels is None:
                tally.skip("file outside the layout's folders", entry.uri)
                continue
            yield Item(
                entry.uri,
                entry.version,
                entry.size,
                label=labels.label,
                target=labels.target,
                generator=labels.generator,
                category=labels.category,
                split=labels.split,
            )


def _layout(name: str, text: str, rule: Rule) -> Layout:
    def items(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
        return list_by(rule, place, options, tally)

    return Layout(name, text, items)


def _items_by_globs(place: str, options: LayoutOptions, tally: Tally) -> Iterator[Item]:
    return list_by(by_globs(options), place, options, tally)


LAYOUTS = (
    _layout("forensynths", "CNNDetection: [split/]generator[/class]/{0_real,1_fake}", forensynths),
    _layout("genimage", "GenImage: generator/{train,val}/{nature,ai}", genimage),
    _layout("unifd-diffusion", "UnivFD: {imagenet,laion}/0_real, {guided,ldm_200,...}/1_fake", unifd_diffusion),
    _layout("cifake", "CIFAKE: {train,test}/{REAL,FAKE}", cifake),
    Layout("folders", "folders named by --real GLOB and --fake GLOB", _items_by_globs, frozenset({"real", "fake"})),
)
