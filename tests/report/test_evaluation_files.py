"""Tables and figures of an evaluation hold its numbers; a stranger's name is drawn, not run or typeset."""

import io

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from clipfake.report.evaluation_files import figures, tables


def test_a_row_a_cell_in_both_tables(evaluated):
    files = dict(tables(evaluated))
    assert sorted(files) == sorted(
        f"{name}.{kind}" for name in (*evaluated["protocols"], "real_sources") for kind in ("csv", "parquet")
    )
    for name, section in evaluated["protocols"].items():
        table = pq.read_table(io.BytesIO(files[f"{name}.parquet"]))
        assert table["tested_on"].to_pylist() == [one["tested_on"] for one in section["cells"]]
        assert table["error"].to_pylist() == [one["error"] for one in section["cells"]]
    own = pq.read_table(io.BytesIO(files["own.parquet"])).to_pylist()[0]
    one = evaluated["protocols"]["own"]["cells"][0]
    assert own["auc_low"] == one["auc_low"]
    assert own["verdicts_fake_unsure"] == one["verdicts"]["fake"]["unsure"]
    assert own["fpr_high_at_threshold_0.05"] == one["at_thresholds"]["0.05"]["fpr_high"]
    assert own["tpr_at_fpr_0.05"] == one["tpr_at_fpr"]["0.05"]
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    again = pyarrow.csv.read_csv(io.BytesIO(files["own.csv"]), parse_options=options)
    assert again["auc"].to_pylist() == pytest.approx([one["auc"] for one in evaluated["protocols"]["own"]["cells"]])


def test_each_protocol_with_a_detector_has_its_figures(evaluated):
    drawn = dict(figures(evaluated))
    assert set(drawn) == {
        "own.png", "own-roc.png", "own-reliability.png", "matrix-auc.png", "matrix-balanced_accuracy.png",
        "leave-generator.png",
    }  # fmt: skip
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())
