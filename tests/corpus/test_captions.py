from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus.captions import GIVEAWAYS, Giveaways, TextTemplate, checked
from clipfake.errors import UsageError
from clipfake.storage.schemas import MANIFEST_SCHEMA

CAPTION = TextTemplate.parse("caption")


def listing(rows: Sequence[dict], batch_rows: int = 2) -> pa.RecordBatchReader:
    whole = [{"item_id": f"file:///{i}", "uri": "u", "version": "1", **row} for i, row in enumerate(rows)]
    columns = {field.name: [row.get(field.name) for row in whole] for field in MANIFEST_SCHEMA}
    table = pa.table(columns, schema=MANIFEST_SCHEMA)
    return pa.RecordBatchReader.from_batches(MANIFEST_SCHEMA, table.to_batches(max_chunksize=batch_rows))


def refusal(rows: Sequence[dict], template: TextTemplate = CAPTION, allowed: Sequence[str] = ()) -> str | None:
    try:
        assert checked(lambda: listing(rows), template, allowed).read_all().num_rows == len(rows)
    except UsageError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("caption", {"caption": "a cat"}, "a cat"),
        ("category", {"category": "cat"}, "cat"),
        ("a photo of a {category}", {"category": "cat"}, "a photo of a cat"),
        ("{caption} ({category}) {{}}", {"caption": "a cat", "category": "{x}"}, "a cat ({x}) {}"),
        ("caption", {"caption": None}, None),
        ("caption", {"caption": "  "}, None),
        ("{caption} {category}", {"caption": "a", "category": None}, None),
    ],
)
def test_a_template_is_filled_or_there_is_no_text(text: str, row: dict, expected: str | None) -> None:
    assert TextTemplate.parse(text).fill({name: [value] for name, value in row.items()}) == [expected]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{generator}", "may not use {generator}"),
        ("a {label} of {caption}", "may not use {label}"),
        ("{target}", "may not use {target}"),
        ("{path}", "may not use {path}"),
        ("{caption.__class__}", "may not use"),
        ("{caption!r}", "may not use"),
        ("{caption:>9}", "may not use"),
        ("{}", "may not use {}"),
        ("a photo", "names no column"),
        ("", "names no column"),
        ("{caption", "cannot be read"),
    ],
)
def test_any_other_template_is_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        TextTemplate.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("caption", "word"),
    [
        ("an AI picture", "ai"),
        ("AI-generated art", "ai"),
        ("made by A.I.", "ai"),
        ("this AI's dream", "ai"),
        ("Generated with love", "generated"),
        ("fake_plastic_trees", "fake"),
        ("a DALL-E 3 image", "dall e"),
        ("Stable Diffusion", "diffusion"),
        ("StyleGAN2 face", "stylegan2"),
        ("midjourney", "midjourney"),
    ],
)
def test_words_that_give_the_label_away_are_refused(caption: str, word: str) -> None:
    said = refusal([{"caption": "a cat"}, {"caption": None}, {"caption": caption}])
    assert said is not None
    assert f"the caption of file:///2 has {word!r}" in said


@pytest.mark.parametrize(
    "caption", ["a rainy afternoon", "J'ai un chat", "Gandalf", "fakery", "organic", "the Ganges", "aim", "e dall"]
)
def test_words_that_only_hold_such_letters_are_not(caption: str) -> None:
    assert refusal([{"caption": caption}]) is None


letters = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@given(
    before=letters, after=letters, phrase=st.sampled_from(sorted(GIVEAWAYS)), gap=st.sampled_from([" ", "-", "_", ", "])
)
def test_a_phrase_is_found_between_any_words_and_in_any_case(before: str, after: str, phrase: str, gap: str) -> None:
    assert Giveaways().found(f"{before}{gap}{phrase.upper()}{gap}{after}") is not None
    assert Giveaways([phrase]).found(phrase) in {None, *(word for word in phrase.split() if word in GIVEAWAYS)}


@pytest.mark.parametrize("caption", ["Photo by Lama Cleaner", "seen at a lama-farm"])
def test_names_of_the_manifests_generators_are_refused(caption: str) -> None:
    assert "'lama'" in (refusal([{"caption": caption, "generator": "lama", "label": 1}]) or "")
    assert "'lama'" in (refusal([{"caption": caption, "generator": "lama"}]) or "")


@pytest.mark.parametrize("caption", ["big_gan", "BigGAN", "a taming transformer", "TamingTransformer 1"])
def test_names_of_several_words_are_found_together_and_apart(caption: str) -> None:
    rows = [{"caption": "x", "generator": name, "label": 1} for name in ("big_gan", "taming_transformer")]
    assert refusal([*rows, {"caption": caption}])
    assert refusal([*rows, {"caption": "a transformer on a pole"}]) is None


def test_where_real_images_are_from_is_no_generator() -> None:
    assert refusal([{"caption": "a landscape", "generator": "landscape", "label": 0}]) is None


def test_a_name_that_comes_late_is_held_against_earlier_texts() -> None:
    rows = [{"caption": "a palette"}, *[{"caption": "x"}] * 5, {"generator": "palette", "label": 1}]
    assert "the caption of file:///0 has 'palette'" in (refusal(rows) or "")


def test_a_list_is_read_twice_only_if_it_must_be() -> None:
    read = 0

    def again(rows: list[dict]) -> pa.RecordBatchReader:
        nonlocal read
        read += 1
        return listing(rows)

    checked(lambda: again([{"generator": "g", "label": 1}] * 9), CAPTION).read_all()
    assert read == 1
    checked(lambda: again([*[{}] * 8, {"generator": "gg", "label": 1}]), CAPTION).read_all()
    assert read == 3


def test_an_allowed_word_passes_and_no_other() -> None:
    rows = [{"caption": "a palette of oils", "generator": "palette", "label": 1}]
    assert "--allow-word 'palette'" in (refusal(rows) or "")
    assert refusal(rows, allowed=["Palette"]) is None
    assert refusal([*rows, {"caption": "fake"}], allowed=["palette"])


def test_only_the_columns_of_the_template_are_looked_at() -> None:
    rows = [{"caption": "fake", "category": "cat"}]
    assert refusal(rows, TextTemplate.parse("category")) is None
    assert refusal(rows, TextTemplate.parse("{category}: {caption}"))


def test_a_column_of_too_many_names_is_no_column_of_generators() -> None:
    rows = [{"caption": "x", "generator": f"name {i}", "label": 1} for i in range(10_001)]
    with pytest.raises(UsageError, match="more than 10000 names"):
        checked(lambda: listing(rows, 1_000), CAPTION).read_all()
