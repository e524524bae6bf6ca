"""What a file says of itself: one table of rules over its metadata. A claim by whoever wrote it, never a proof."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import ExifTags, IptcImagePlugin
from PIL.ImageFile import ImageFile

from clipfake.images.metadata.credentials import Statement, statements
from clipfake.images.metadata.encoding import png_text
from clipfake.images.metadata.xmp import xmp_properties

MAX_LENGTH: Final = 200  # characters of the result
MAX_FIELD: Final = 1 << 16  # characters looked at of each field

# https://cv.iptc.org/newscodes/digitalsourcetype: those that say "made by an algorithm", wholly or in part.
GENERATED: Final = (
    "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia", "compositeSynthetic",
    "trainedAlgorithmicData",
)  # fmt: skip
# Names as tools write them, anchored where they are also a word or a camera.
SOFTWARE: Final = {
    "Adobe Firefly": r"adobe[ _]?firefly|^firefly",
    "Bing Image Creator": r"bing image creator|image creator from (?:microsoft )?designer",
    "ComfyUI": r"\bcomfyui\b",
    "Craiyon": r"\bcraiyon\b",
    "DALL-E": r"\bdall[^a-z0-9]{0,3}e\b",
    "Draw Things": r"^draw things\b",
    "FLUX": r"^ai generated;|\bblack forest labs\b",
    "Fooocus": r"\bfooocus\b",
    "Google AI": r"\bmade with google ai\b|\bgoogle generative ai\b",
    "Ideogram": r"\bideogram\b",
    "InvokeAI": r"\binvoke ?ai\b",
    "Leonardo.Ai": r"\bleonardo\.ai\b",
    "Midjourney": r"\bmidjourney\b",
    "NightCafe": r"\bnightcafe\b",
    "NovelAI": r"\bnovelai\b",
    "OpenAI": r"\bopenai\b|\bchatgpt\b",
    "Recraft": r"\brecraft\b",
    "Stable Diffusion": r"\bstable[ -]?diffusion\b|\bstability ?ai\b|\bdreamstudio\b",
}
_SETTINGS: Final = ("png:parameters", "exif:UserComment", "comment")
_MAKER: Final = (
    "exif:Software", "exif:Make", "png:Software", "xmp:creatortool", "xmp:credit", "iptc:program", "iptc:credit",
    "c2pa:generator",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """says : the result where `pattern` is found in one of `fields`; \\1, \\2 are its groups"""

    says: str
    fields: tuple[str, ...]
    pattern: re.Pattern[str]


def _rule(says: str, fields: tuple[str, ...], pattern: str, flags: re.RegexFlag = re.NOFLAG) -> Rule:
    return Rule(says, fields, re.compile(pattern, flags))


_KINDS: Final = "|".join(GENERATED)
RULES: Final = (
    # What says most comes first: the first rule that fits is the answer. No pattern can take more than linear time.
    _rule(r"c2pa: \1 (\2)", ("c2pa:source",), rf"^({_KINDS})\n(.+)", re.DOTALL),
    _rule(r"c2pa: \1", ("c2pa:source",), rf"^({_KINDS})\n"),
    _rule(r"iptc: \1", ("xmp:digitalsourcetype",), rf"(?:^|/)({_KINDS})\s*$"),
    # China's GB 45438-2025: 1 is generated, 2 possibly, 3 suspected.
    _rule(r"aigc: label \1", ("xmp:aigc", "png:AIGC"), r'"Label"\s*:\s*"?([123])\b'),
    _rule(r"aigc: label \1", ("exif:UserComment",), r'"AIGC"\s*:\s*\{[^{}]{0,200}"Label"\s*:\s*"?([123])\b'),
    _rule("parameters: SwarmUI", _SETTINGS, r'"sui_image_params"'),
    _rule("parameters: Fooocus", _SETTINGS, r'\b[Vv]ersion"?: "?Fooocus'),
    _rule("parameters: InvokeAI", ("png:invokeai_metadata", "png:invokeai_graph", "png:sd-metadata"), r"\{"),
    _rule("parameters: InvokeAI", ("png:Dream",), r" -s ?\d"),
    _rule("parameters: NovelAI", ("png:Comment", "exif:UserComment"), r'"uc": ?"|"request_type": ?"'),
    _rule("parameters: ComfyUI", ("png:prompt", "exif:Model", "exif:UserComment"), r'"class_type"'),
    _rule("parameters: ComfyUI", ("png:workflow", "exif:Make"), r'"last_node_id"|"nodes"'),
    _rule("parameters: Easy Diffusion", ("png:use_stable_diffusion_model",), r"\S"),
    _rule("parameters: Midjourney", ("png:Description", "exif:ImageDescription"), r"\bJob ID: [0-9a-f-]{36}"),
    _rule("parameters: Stable Diffusion web UI", _SETTINGS, r"\bSteps: \d{1,5}, [A-Z][\w ]{1,30}: "),
    *(_rule(f"software: {name}", _MAKER, pattern, re.IGNORECASE) for name, pattern in SOFTWARE.items()),
)
_WANTED: Final = frozenset(field for rule in RULES for field in rule.fields)


def _names(prefix: str) -> frozenset[str]:
    return frozenset(field.removeprefix(prefix) for field in _WANTED if field.startswith(prefix))


_PNG: Final = _names("png:")
_XMP: Final = _names("xmp:")
_EXIF: Final = {tag.value: tag.name for tag in ExifTags.Base if tag.name in _names("exif:")}
_IPTC: Final = {(2, 65): "program", (2, 110): "credit"}


def declared(image: ImageFile, data: bytes, fmt: str) -> str | None:
    """What the file `data` says of itself where it says that it was generated, wholly or in part; else None.

    image : what Pillow opened from it, loaded (PNG text may follow the pixels)

    "c2pa: trainedAlgorithmicMedia (<claim generator>)", "iptc: ...", "aigc: label 1", "parameters: <tool>",
    "software: <tool>": one line of at most MAX_LENGTH printable characters. Never raises for what is in the file;
    metadata that cannot be read counts as not there.
    """
    fields: dict[str, str] = {}
    for read in (_said_by_pillow, _said_in_exif, _said_in_iptc, _said_in_xmp, _said_in_credentials):
        try:
            for name, text in read(image, data, fmt):
                fields.setdefault(name, text[:MAX_FIELD])
        except Exception:  # Pillow's plugins, expat and c2pa raise nearly every kind for bad data
            continue
    return judged(fields)


def judged(fields: Mapping[str, str]) -> str | None:
    """The first of RULES that fits the fields, as one printable line."""
    if not fields:
        return None
    for rule in RULES:
        for name in rule.fields:
            if name in fields and (match := rule.pattern.search(fields[name])):
                return printable(match.expand(rule.says))
    return None


def printable(text: str) -> str:
    """One line of at most MAX_LENGTH characters: no control characters, none that turn the direction of writing."""
    return "".join(c for c in " ".join(text[: 4 * MAX_LENGTH].split()) if c.isprintable())[:MAX_LENGTH]


Fields = Iterator[tuple[str, str]]


def _said_by_pillow(image: ImageFile, data: bytes, fmt: str) -> Fields:
    """PNG text and the comment of a JPEG or GIF."""
    text = png_text(image)
    yield from ((f"png:{name}", text[name]) for name in _PNG.intersection(text))
    if comment := image.info.get("comment"):
        yield "comment", _text(comment)


def _said_in_exif(image: ImageFile, data: bytes, fmt: str) -> Fields:
    exif = image.getexif()
    if not exif:
        return
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, name in _EXIF.items():
        value = exif.get(tag, inner.get(tag))
        if value:
            yield f"exif:{name}", _text(value)


def _said_in_iptc(image: ImageFile, data: bytes, fmt: str) -> Fields:
    if "photoshop" not in image.info and fmt != "tiff":
        return
    records: Mapping[tuple[int, int], Any] = IptcImagePlugin.getiptcinfo(image) or {}
    for record, name in _IPTC.items():
        if value := records.get(record):
            yield f"iptc:{name}", _text(value[0] if isinstance(value, list) else value)


def _said_in_xmp(image: ImageFile, data: bytes, fmt: str) -> Fields:
    packet = image.info.get("xmp")
    if isinstance(packet, bytes):
        yield from ((f"xmp:{name}", value) for name, value in xmp_properties(packet, _XMP).items())


def _said_in_credentials(image: ImageFile, data: bytes, fmt: str) -> Fields:
    said = statements(data, fmt)
    told: list[Statement] = [one for one in said if one.source_type in GENERATED]
    if told:
        yield "c2pa:source", "\n".join(told[0])
    elif said:
        yield "c2pa:generator", "\n".join(one.generator for one in said)


def _text(value: object) -> str:
    """A tag's text. EXIF's UserComment begins with 8 bytes that name its code; of UTF-16, whose byte order writers
    disagree on, the ASCII part is right in both orders without the zeros, which is all that rules look for."""
    if isinstance(value, bytes):
        bare = value[: 4 * MAX_FIELD].removeprefix(b"UNICODE\0").removeprefix(b"ASCII\0\0\0")
        return bare.replace(b"\0", b"").decode("utf-8", "replace")
    return str(value)
