"""What files say of themselves, by each way of saying it; and metadata that means harm."""

import json
import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from signing import IPTC, created, signed

from clipfake.images.decode import Limits, decode
from clipfake.images.metadata.credentials import statements
from clipfake.images.metadata.declared import GENERATED, MAX_LENGTH, RULES, judged, printable
from clipfake.status import Status

A1111 = "a cat\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64"
COMFY = json.dumps({"3": {"inputs": {"seed": 1}, "class_type": "KSampler"}})


def said(data: bytes) -> str | None:
    decoded = decode(data, Limits())
    assert decoded.status is Status.OK
    return decoded.declared


def xmp(properties: str = "", inside: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:photoshop="p" xmlns:TC260="t" {properties}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def png_text(picture, encode, where: str = "tEXt", **entries: str) -> bytes:
    info = PngInfo()
    for key, value in entries.items():
        if where == "iTXt":
            info.add_itxt(key, value, zip=True)
        else:
            info.add_text(key, value, zip=where == "zTXt")
    return encode(picture, "png", pnginfo=info)


def with_exif(picture, encode, fmt: str, tag: int, value: object) -> bytes:
    exif = Image.Exif()
    (exif.get_ifd(0x8769) if tag == 0x9286 else exif)[tag] = value
    return encode(picture, fmt, exif=exif)


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp", "gif", "tiff", "avif"])
def test_content_credentials(picture, encode, fmt):
    data = signed(encode(picture, fmt), fmt, created("trainedAlgorithmicMedia"), generator="Dream Machine")
    assert said(data) == "c2pa: trainedAlgorithmicMedia (Dream Machine)"


def test_a_camera_with_content_credentials_declares_nothing(picture, encode):
    assert said(signed(encode(picture, "jpeg"), "jpeg", created("digitalCapture"), generator="Camera")) is None


def test_a_generator_that_names_no_source_type_is_known_by_its_name(picture, encode):
    data = signed(encode(picture, "jpeg"), "jpeg", created("digitalCapture"), generator="OpenAI Media Service")
    assert said(data) == "software: OpenAI"


def test_generated_content_in_a_photograph_makes_a_composite(picture, encode):
    photo = signed(encode(picture, "jpeg"), "jpeg", created("digitalCapture"))
    edit = created("trainedAlgorithmicMedia", "c2pa.edited")
    data = signed(photo, "jpeg", edit, generator="Editor", edited=True)
    assert said(data) == "c2pa: compositeWithTrainedAlgorithmicMedia (Editor)"


def test_an_edited_picture_is_what_it_was_made_of(picture, encode):
    made = signed(encode(picture, "png"), "png", created("trainedAlgorithmicMedia"), generator="Maker")
    data = made
    for _ in range(3):
        cropped = {"action": "c2pa.cropped"}
        data = signed(data, "png", cropped, generator="Editor", edited=True)
    assert said(data) == "c2pa: trainedAlgorithmicMedia (Maker)"
    assert [one.generator for one in statements(data, "png")][:2] == ["Editor", "Editor"]


def test_a_broken_manifest_is_no_manifest(picture, encode):
    data = signed(encode(picture, "jpeg"), "jpeg", created("trainedAlgorithmicMedia"))
    at = data.index(b"c2pa.actions")
    assert said(data[: at - 40] + bytes(200) + data[at + 160 :]) in (None, "c2pa: trainedAlgorithmicMedia")


@pytest.mark.parametrize("kind", GENERATED)
@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp", "tiff"])
def test_iptc_source_type_as_an_attribute_an_element_and_a_resource(picture, encode, kind, fmt):
    uri = IPTC + kind
    for packet in (
        xmp(f'Iptc4xmpExt:DigitalSourceType="{uri}"'),
        xmp("", f"<Iptc4xmpExt:DigitalSourceType>\n {uri} </Iptc4xmpExt:DigitalSourceType>"),
        xmp("", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{uri}"/>'),
    ):
        options = {"pnginfo": (info := PngInfo())} if fmt == "png" else {"xmp": packet}
        if fmt == "png":
            info.add_itxt("XML:com.adobe.xmp", packet.decode())
        if fmt == "tiff":
            options = {"tiffinfo": {700: packet}}
        assert said(encode(picture, fmt, **options)) == f"iptc: {kind}"


@pytest.mark.parametrize("kind", ["digitalCapture", "minorHumanEdits", "notTrainedAlgorithmicMedia"])
def test_other_source_types_say_nothing(picture, encode, kind):
    assert said(encode(picture, "jpeg", xmp=xmp(f'Iptc4xmpExt:DigitalSourceType="{IPTC}{kind}"'))) is None


@pytest.mark.parametrize(
    ("tool", "entries"),
    [
        ("Stable Diffusion web UI", {"parameters": A1111}),
        ("Stable Diffusion web UI", {"parameters": "p\nSteps: 8, Size: 64x64, Seed: 3, App: SD.Next"}),
        ("ComfyUI", {"prompt": COMFY}),
        ("ComfyUI", {"workflow": '{"last_node_id": 9, "nodes": []}'}),
        ("SwarmUI", {"parameters": '{"sui_image_params": {"prompt": "a cat"}}'}),
        ("Fooocus", {"parameters": "a cat\nSteps: 60, Sampler: dpmpp, Version: Fooocus v2.1.865"}),
        ("InvokeAI", {"invokeai_metadata": '{"positive_prompt": "a cat"}'}),
        ("InvokeAI", {"Dream": '"a cat" -s 50 -S 1 -W 512'}),
        ("NovelAI", {"Software": "NovelAI", "Comment": '{"steps": 28, "uc": "bad", "request_type": "PromptGenerate"}'}),
        ("Easy Diffusion", {"use_stable_diffusion_model": "sd-v1-4"}),
        ("Midjourney", {"Description": "a cat --v 5 Job ID: 01234567-89ab-cdef-0123-456789abcdef"}),
    ],
)
@pytest.mark.parametrize("where", ["tEXt", "zTXt", "iTXt"])
def test_generator_parameters_in_png_text(picture, encode, tool, entries, where):
    assert said(png_text(picture, encode, where, **entries)) == f"parameters: {tool}"


@pytest.mark.parametrize("code", ["ascii", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
def test_generator_parameters_in_a_user_comment(picture, encode, code, fmt):
    mark = b"ASCII\0\0\0" if code == "ascii" else b"UNICODE\0"
    data = with_exif(picture, encode, fmt, 0x9286, mark + A1111.encode(code))
    assert said(data) == "parameters: Stable Diffusion web UI"


@pytest.mark.parametrize(
    ("name", "tag", "value"),
    [
        ("Midjourney", 0x0131, "Midjourney v6"),
        ("DALL-E", 0x0131, "DALL\u00b7E 3"),
        ("FLUX", 0x0131, "AI generated;txt2img;flux"),
        ("Ideogram", 0x010F, "Ideogram AI"),
    ],
)
def test_software_tags_in_exif(picture, encode, name, tag, value):
    assert said(with_exif(picture, encode, "jpeg", tag, value)) == f"software: {name}"


def test_software_tags_elsewhere(picture, encode):
    assert said(png_text(picture, encode, Software="NovelAI")) == "software: NovelAI"
    assert said(encode(picture, "jpeg", xmp=xmp('xmp:CreatorTool="Adobe Firefly 3"'))) == "software: Adobe Firefly"
    assert said(encode(picture, "jpeg", xmp=xmp('photoshop:Credit="Made with Google AI"'))) == "software: Google AI"


def test_the_label_that_chinese_law_asks_for(picture, encode):
    label = '{"Label":"1","ContentProducer":"x"}'
    packet = xmp("", f"<TC260:AIGC>{label}</TC260:AIGC>")
    assert said(encode(picture, "jpeg", xmp=packet)) == "aigc: label 1"
    data = with_exif(picture, encode, "jpeg", 0x9286, b"ASCII\0\0\0" + b'{"AIGC": ' + label.encode() + b"}")
    assert said(data) == "aigc: label 1"


@pytest.mark.parametrize(
    "entries",
    [
        {"Software": "Adobe Photoshop 25.0", "Description": "a lighthouse"},
        {"Software": "GIMP 2.10", "Comment": "Steps to the beach"},
        {"parameters": "exposure 3"},
        {"prompt": "what I was asked to photograph"},
    ],
)
def test_ordinary_metadata_says_nothing(picture, encode, entries):
    assert said(png_text(picture, encode, **entries)) is None


def test_ordinary_cameras_say_nothing(picture, encode, photos):
    assert said(with_exif(picture, encode, "jpeg", 0x010F, "Point Grey Firefly MV")) is None
    assert [said(photo) for photo in photos[:50]] == [None] * 50


def test_what_says_more_comes_first(picture, encode):
    packet = xmp(f'Iptc4xmpExt:DigitalSourceType="{IPTC}trainedAlgorithmicMedia" xmp:CreatorTool="Midjourney"')
    assert said(encode(picture, "jpeg", xmp=packet)) == "iptc: trainedAlgorithmicMedia"
    data = signed(encode(picture, "jpeg", xmp=packet), "jpeg", created("compositeSynthetic"))
    assert said(data) == "c2pa: compositeSynthetic (Test Generator)"


def test_the_claim_generator_is_one_printable_line(picture, encode):
    generator = "\u202eA\x1b[31m\n<script>" + "x" * 500
    text = said(signed(encode(picture, "png"), "png", created("trainedAlgorithmicMedia"), generator=generator))
    assert text is not None and len(text) == MAX_LENGTH and text.isprintable()
    assert text.startswith("c2pa: trainedAlgorithmicMedia (A[31m <script>xx")


def test_text_that_unpacks_to_much_is_bounded(picture, encode):
    start = "x" * (1 << 16)
    assert said(png_text(picture, encode, parameters=start + A1111)) is None  # only so much is looked at
    assert said(png_text(picture, encode, "tEXt", parameters=A1111 + "x" * (8 << 20))) is not None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=600))
def test_what_is_said_is_printable_and_short(text):
    line = printable(text)
    assert line.isprintable() and len(line) <= MAX_LENGTH


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_damage_to_a_file_with_everything_in_it_raises(everything, data):
    at = data.draw(st.integers(2, len(everything) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=30))
    decoded = decode(everything[:at] + noise + everything[at + len(noise) :], Limits())
    assert decoded.declared is None or decoded.declared.isprintable()


@pytest.fixture(scope="module")
def everything(picture, encode) -> bytes:
    exif = Image.Exif()
    exif[0x0131] = "Midjourney"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-le")
    image = encode(picture, "jpeg", exif=exif, xmp=xmp('xmp:CreatorTool="x"'), comment=A1111.encode())
    return signed(image, "jpeg", created("trainedAlgorithmicMedia"))


@pytest.mark.parametrize("unit", ["Steps: 1, ", '"AIGC":{', '"AIGC":{"Label":', "dall ", "Job ID: 0-", " -s", "\n"])
def test_no_pattern_takes_long(unit):
    text = unit * (65_536 // len(unit))
    start = time.perf_counter()
    judged({field: text for rule in RULES for field in rule.fields})
    assert time.perf_counter() - start < 3.0
