"""The model card shows what an evaluation found, the worst first, and says what was not measured."""

import pytest

from clipfake.report.model_card import render_model_card


@pytest.fixture(scope="module")
def card(evaluation, described) -> str:
    return render_model_card(evaluation(), described).replace("\u202f", " ")


def test_the_worst_comes_before_the_whole(card):
    first = card.index("42 %")
    assert "cycle_gan" in card[first : first + 300]
    assert first < card.index("81 %")
    table = card[card.index('aria-label="Per generator"') :]
    assert table.index("cycle_gan") < table.index("(all)") < table.index("glide")


def test_all_sections_hold_their_numbers(card):
    for text in ("2.9 % to 7.8 %", "0.997", "33.6 %", "1,234 real, 567 generated", "1,986 support vectors",
                 "50 % (20–80 %)", "jpeg-30", "55 %", "8 of 255", "No item has a group_id", "too few &lt;i&gt;",
                 "preset &lt;b&gt;", "By somebody who has the encoder", "30 %"):  # fmt: skip
        assert text in card, text


def test_the_matrix_is_the_mean_over_seeds(card):
    grid = card[card.index("trained on the row") :]
    assert "<td>0.60</td><td>0.65</td>" in grid  # 0.5 with seed 0, 0.8 with seed 1


def test_what_was_not_measured_is_said_to_be_unknown(evaluation, described):
    card = render_model_card(evaluation(robust=False), described)
    assert card.count("Unknown") == 2
    assert "--robustness" in card
    assert "Suppose that somebody" in card


def test_an_untrained_encoder_is_said_first(evaluation, described):
    result = evaluation()
    result["detector"]["encoder_trained"] = False
    card = render_model_card(result, described)
    assert 0 < card.index("The encoder is untrained") < card.index("Where is it worst?")


def test_nothing_to_evaluate_still_gives_a_card(evaluation, described):
    result = evaluation(robust=False) | {"protocols": {}, "worst": None}
    result["detector"] |= {"thresholds": [], "generators": []}
    assert "Every verdict is unsure" in render_model_card(result, described | {"metrics": {}, "provenance": {}})
