"""The page and the CSV of the experiments hold their numbers beside the source's, and say which is which."""

import csv
import io

import numpy as np
import pytest

from clipfake.measures.classification import MEASURES
from clipfake.measures.geometry import principal_components
from clipfake.measures.split import PARTS
from clipfake.reproduce.page import FIGURES, page, tables_csv, variance, worse_than_raw
from clipfake.reproduce.reported import reported


def experiment(variant: str, slot: str, data: str, accuracy: float = 0.9) -> dict:
    """An experiment as experiment.json holds it; of the test part's recall nothing is known."""
    cells = {measure: {"value": accuracy, "low": accuracy - 0.02, "high": accuracy + 0.01} for measure in MEASURES}
    tables = {part: dict(cells) for part in PARTS}
    tables["test"]["recall fake"] = {"value": None, "low": None, "high": None}
    return {
        "name": f"{variant}-{data}", "title": f"{variant} on {data}", "variant": variant, "slot": slot, "data": data,
        "encoder": "ViT", "fingerprint": "f" * 64, "notes": ["preset source", "a note of its own"], "baseline": 0.91,
        "text_alone": None, "sizes": dict(zip(PARTS, (1000, 200, 300), strict=True)), "tables": tables,
        "history": [{"train_loss": 0.19, "val_loss": 0.2}, {"train_loss": 0.05, "val_loss": 0.15}], "best_epoch": 0,
        "first_component": 0.625, "components": 12,
        "confusion": {part: {"tn": 1234, "fp": 5, "fn": 6, "tp": 7} for part in PARTS},
    }  # fmt: skip


ONE, TWO = experiment("image", "CycleGAN", "cycle_gan"), experiment("sum", "ProGAN", "pro_gan", 0.95)


def test_a_row_an_experiment_beside_the_source():
    found = page([ONE, TWO], ["These are not the source's data"])
    rows = [line for line in found.splitlines() if line.startswith("| [")]
    assert rows == [
        "| [image-cycle_gan](#image-cycle_gan) | cycle_gan | 1,000 / 200 / 300 | 10,647 / 1,520 / 3,043 | "
        "90.00 [88.00, 91.00] | 94.00† | 91.00 | – |",
        "| [sum-pro_gan](#sum-pro_gan) | pro_gan | 1,000 / 200 / 300 | 28,000 / 4,000 / 8,000 | "
        "95.00 [93.00, 96.00] | 92.61† | 91.00 | – |",
    ]
    assert "- **These are not the source's data**" in found and "- Preset source." in found
    assert found.count("A note of its own.") == 3  # above for all, and in each section
    assert "real called real 1,234, called fake 5" in found
    assert all(f"![{ONE['name']}: {name}]({ONE['name']}/{name}.png)" in found for name in FIGURES)


def test_a_row_an_experiment_of_how_its_training_went():
    rows = [line for line in page([ONE, TWO], []).splitlines() if "0.190" in line]
    ours = "train 0.050, validation 0.150"
    assert rows == [
        f"| image-cycle_gan | 0.190 | – | {ours} | validation 0.15, train 0.10 below | 2, kept 1 | 5 of 20 | 62.5% | – "
        "| 12 | – |",
        f"| sum-pro_gan | 0.190 | – | {ours} | both 0.14 | 2, kept 1 | 20 | 62.5% | 70.5 % | 12 | 20 |",
    ]


@pytest.mark.parametrize(("shares", "first", "count"), [((0.9, 0.1), 0.9, 2), ((0.8, 0.196, 0.004), 0.8, 2)])
def test_all_of_the_variance_is_what_a_reader_of_a_figure_takes_for_it(shares, first, count):
    random = np.random.default_rng(0)
    drawn = random.normal(size=(500, len(shares)))
    basis = np.linalg.qr(drawn - drawn.mean(0))[0]  # columns of mean 0 and equal length, at right angles
    found = variance(principal_components(basis * np.sqrt(shares)))
    assert (found["first_component"], found["components"]) == (pytest.approx(first), count)


def test_a_head_that_is_worse_than_none_is_said_to_be():
    assert worse_than_raw(ONE) and not worse_than_raw(TWO)
    assert page([ONE, TWO], []).count("worse than a linear SVM on the raw embedding on the test part") == 1


def test_a_line_a_measure_in_the_csv():
    rows = list(csv.DictReader(io.StringIO(tables_csv([ONE, TWO]))))
    assert len(rows) == 2 * len(PARTS) * len(MEASURES)
    for row in rows:
        variant, slot = ("image", "CycleGAN") if row["experiment"] == ONE["name"] else ("sum", "ProGAN")
        source = reported(variant, slot, row["part"], row["measure"])
        assert row["source"] == (f"{source.value:.4f}" if source else "")
        assert row["source_inferred"] == (str(source.inferred) if source else "")
        if (row["part"], row["measure"]) != ("test", "recall fake"):
            assert float(row["value"]) == pytest.approx(0.9 if variant == "image" else 0.95)
        else:
            assert row["value"] == ""
