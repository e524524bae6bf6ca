from pathlib import Path

import open_clip
import pytest

from clipfake.encoder.spec import EncoderSpec
from clipfake.errors import UsageError


def test_every_tag_of_open_clip_parses_or_names_what_to_use() -> None:
    advised = []
    for arch, tag in open_clip.list_pretrained():
        name = f"{arch}/{tag}"
        try:
            spec = EncoderSpec.parse(name)
        except UsageError as error:
            twin = str(error).rpartition("use ")[2]
            if twin != "another tag":
                assert EncoderSpec.parse(twin).weights == tag
                advised.append((name, twin))
        else:
            assert (spec.kind, str(spec)) == ("tag", name)
    assert ("ViT-B-32/openai", "ViT-B-32-quickgelu/openai") in advised
    assert ("RN50/cc12m", "RN50-quickgelu/cc12m") in advised


def test_gelu_mismatch_says_what_was_trained_and_what_is_built() -> None:
    with pytest.raises(UsageError) as caught:
        EncoderSpec.parse("ViT-B-32/openai")
    assert str(caught.value) == (
        "the weights openai were trained with QuickGELU and ViT-B-32 is built with GELU; use ViT-B-32-quickgelu/openai"
    )


def test_open_clip_itself_sees_the_mismatch_we_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda config, cache_dir=None: "unused")
    with pytest.warns(UserWarning, match="QuickGELU mismatch"):
        open_clip.create_model("ViT-B-32", pretrained="openai", load_weights=False, device="meta")


def test_untrained() -> None:
    assert EncoderSpec.parse("RN50/untrained") == EncoderSpec("RN50", "untrained", "untrained")


def test_tags_are_cleaned_as_open_clip_does() -> None:
    assert str(EncoderSpec.parse("ViT-B-32/LAION2B-S34B-B79K")) == "ViT-B-32/laion2b_s34b_b79k"


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("/data/a b.safetensors", "file:///data/a%20b.safetensors"),
        ("file:///data/x.pt", "file:///data/x.pt"),
        ("s3://bucket/folder/X.PT", "s3://bucket/folder/X.PT"),
        ("weights.bin", Path("weights.bin").absolute().as_uri()),
        ("folder/weights.pth", Path("folder/weights.pth").absolute().as_uri()),
    ],
)
def test_weights_files_become_uris(text: str, uri: str) -> None:
    spec = EncoderSpec.parse(f"ViT-B-32/{text}")
    assert spec == EncoderSpec("ViT-B-32", uri, "file")
    assert EncoderSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("VIT-B32/openai", "near ones: ViT-B-32"),
        ("", "ARCH/TAG"),
        ("zzz/untrained", "list_models"),
        ("hf-hub:org/name", "no architecture"),
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("ViT-B-32/nothing", "laion2b_s34b_b79k"),
        ("ViT-S-32-alt/openai", "has no tags"),
        ("ViT-B-32/folder/weights.npz", ".safetensors"),
        ("ViT-B-32/s3://bucket/folder", ".safetensors"),
        ("ViT-B-32/ftp://host/x.pt", "not supported"),
    ],
)
def test_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        EncoderSpec.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        EncoderSpec.parse("ViT-B-32/s3://key:secret@bucket/x.pt")
    assert "secret" not in str(caught.value).replace("secrets", "")


def test_the_weights_that_the_package_carries() -> None:
    spec = EncoderSpec.parse("clipfake-nano/v1")
    assert (spec.kind, str(spec)) == ("embedded", "clipfake-nano/v1")
    with pytest.raises(UsageError, match="clipfake-nano has the tags v1, not 'v9'"):
        EncoderSpec.parse("clipfake-nano/v9")
