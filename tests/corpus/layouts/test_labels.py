"""One rule for what a label says."""

import pytest

from clipfake.corpus.layouts.labels import label_of, label_of_number

SAID = {
    0: ("0", "0.0", "False", "false", " 0 ", "-0.0", "Real", "REAL"),
    1: ("1", "1.0", "True", "TRUE", "fake", "Fake"),
    None: ("", " ", "nan", "NaN"),
}


@pytest.mark.parametrize(("label", "text"), [(label, text) for label, texts in SAID.items() for text in texts])
def test_labels(label: int | None, text: str) -> None:
    assert label_of(text) == label_of(text, any_integer=False) == label


@pytest.mark.parametrize("text", ["0.5", "inf", "yes", "2,0", "None"])
def test_what_is_no_label(text: str) -> None:
    for rule in (label_of, label_of_number):
        with pytest.raises(ValueError):
            rule(text)


def test_other_integers_are_fake_where_they_are_allowed() -> None:
    assert label_of("6") == label_of_number("-3.0") == 1
    for rule in (label_of, label_of_number):
        with pytest.raises(ValueError):
            rule("6", any_integer=False)


@pytest.mark.parametrize("text", ["real", "fake", "", "nan"])
def test_a_number_is_no_word(text: str) -> None:
    with pytest.raises(ValueError):
        label_of_number(text)
