"""docs/recipes.md: every query runs as it stands there, and says what pandas says of the same rows."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.explore.clusters import CLUSTER_SCHEMA
from clipfake.storage.compaction import compact
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA, REPORT_SCHEMA
from clipfake.storage.store import Store

TEXT = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n.*?```sql\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL))
ITEMS = 1200


def _rows(run: int, detector: str, random: np.random.Generator) -> pd.DataFrame:
    """A night's rows: the first fifth of the items changed, some are broken, some are posted twice."""
    at = np.arange(ITEMS)
    ok = at % 12 != 5
    decision = np.where(ok, np.round(random.normal(size=ITEMS), 6), np.nan)
    uri = [f"s3://bucket{i % 2}/day{i % 3}/site {i % 4}/{i}.jpg" for i in at]
    return pd.DataFrame(
        {
            "item_id": uri,
            "uri": uri,
            "version": [f"v{run if i < ITEMS // 5 else 0}" for i in at],
            "content_sha256": np.where(ok, [f"content{i // 3 if i % 7 == 0 else i}" for i in at], None),
            "status": np.where(ok, "ok", np.where(at % 24 == 5, "truncated", "missing")),
            "error": np.where(ok, None, "something went wrong"),
            "decision": decision,
            "probability": 1 / (1 + np.exp(-decision)),
            "verdict": np.where(~ok, None, np.where(decision > 1, "fake", np.where(decision > 0.3, "unsure", "real"))),
            "unfamiliarity": np.where(ok, random.uniform(size=ITEMS).round(4), np.nan),
            "declared": np.where(ok & (at % 10 == 0), "parameters: ComfyUI", None),
            "detector": detector,
            "run_id": f"run{run}{detector}",
            "scored_at": datetime(2026, 11, 20 + run, 2 + (detector == "new"), tzinfo=UTC)
            + pd.to_timedelta(at, "s")
            + timedelta(hours=1),
        }
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    nights = [_rows(0, "old", random), _rows(1, "old", random).head(ITEMS // 5), _rows(1, "new", random)]
    return pd.concat(nights, ignore_index=True)


@pytest.fixture(scope="module")
def latest(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("scored_at").groupby(["item_id", "detector"], as_index=False).last()


@pytest.fixture(scope="module")
def ask(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):
    """ask(heading) -> the results of the recipe's queries, run in the folder where reports and manifest lie."""
    folder = tmp_path_factory.mktemp("recipes")
    facts = {"thresholds": [{"fpr": 0.05, "decision": 0.3}, {"fpr": 0.01, "decision": 1.0}], "detector": "old"}
    ledger = Ledger(Store(f"file://{folder}/reports"), "report", REPORT_SCHEMA, "old", footer("report", facts))
    for run_id, mine in rows.groupby("run_id"):
        full = mine.reindex(columns=REPORT_SCHEMA.names)
        ledger.commit(f"{run_id}.parquet", pa.Table.from_pandas(full, REPORT_SCHEMA, preserve_index=False))
    first = rows[rows.run_id == "run0old"]
    listed = pd.DataFrame({"item_id": first.item_id, "uri": first.uri, "version": first.version})
    listed["label"] = np.arange(ITEMS) % 2
    listed["generator"] = np.where(listed["label"] == 1, "style_gan", "camera")
    manifest = Ledger(Store(f"file://{folder}/manifest"), "manifest", MANIFEST_SCHEMA, "", footer("manifest", {}))
    full = listed.reindex(columns=MANIFEST_SCHEMA.names)
    manifest.commit("part.parquet", pa.Table.from_pandas(full, MANIFEST_SCHEMA, preserve_index=False))
    clusters = Ledger(Store(f"file://{folder}/clusters"), "clusters", CLUSTER_SCHEMA, "", footer("clusters", {}))
    sorted_in = pd.DataFrame({"item_id": first.item_id, "version": first.version, "cluster": np.arange(ITEMS) % 5})
    table = pa.Table.from_pandas(sorted_in.assign(cosine=0.9), CLUSTER_SCHEMA, preserve_index=False)
    clusters.commit("part.parquet", table)
    connection = duckdb.connect()

    def run(heading: str) -> list[pd.DataFrame]:
        found = []
        for query in RECIPES[heading].split(";"):
            if query.strip():
                placed = re.sub(r"'(reports|manifest|clusters|to_label|keep)", rf"'{folder}/\1", query)
                found.append(connection.execute(placed).df())
        return found

    run("The latest row of each item")
    return run


def test_every_block_of_sql_has_a_heading_of_its_own():
    assert len(RECIPES) == TEXT.count("```sql") == 14


@pytest.mark.parametrize("heading", list(RECIPES)[1:])
def test_each_recipe_runs_and_finds_something(ask, heading):
    assert all(len(found) for found in ask(heading))


def test_the_counts(ask, latest):
    (counts,) = ask("Do the counts reconcile?")
    assert counts.iloc[0].tolist() == [len(latest), (latest.status == "ok").sum(), (latest.status != "ok").sum(), ITEMS]
    (errors,) = ask("Errors by kind, with an example")
    assert dict(zip(errors.status, errors["items"], strict=True)) == dict(
        latest[latest.status != "ok"].status.value_counts()
    )


def test_what_to_look_at_first(ask, latest):
    fakes, unsure, unfamiliar = ask("What to look at first")
    ok = latest[latest.status == "ok"]
    highest = ok[ok.verdict == "fake"].sort_values("decision", ascending=False).head(20)
    assert fakes.uri.tolist() == highest.uri.tolist()
    assert np.allclose(unsure.probability.sub(0.5).abs(), ok.probability.sub(0.5).abs().nsmallest(20))
    assert unfamiliar.unfamiliarity.min() > 0.99


def test_the_shares(ask, latest):
    folder, host, day = ask("By folder, by host, by day")
    ok = latest[latest.status == "ok"].assign(fake=lambda rows: rows.verdict == "fake")
    for found, key, by in (
        (folder, "folder", ok.uri.str.rsplit("/", n=1).str[0]),
        (host, "host", ok.uri.str.split("/").str[2]),
        (day, "day", ok.scored_at.dt.tz_localize(None).dt.floor("D")),
    ):
        assert found.set_index(key).fake.to_dict() == pytest.approx(ok.groupby(by).fake.mean().to_dict())


def test_one_picture_at_many_places(ask, latest):
    (found,) = ask("One picture at many places")
    places = latest[latest.status == "ok"].content_sha256.value_counts()
    assert found.places.tolist() == places[places > 1].head(20).tolist()


def test_what_files_say_and_what_the_detector_says(ask, latest):
    counts, disagree = ask("What the files say of themselves")
    says = latest[latest.declared.notna()]
    assert counts["items"].sum() == len(says)
    assert len(disagree) == min(20, (says.verdict == "real").sum())


def test_thresholds_from_the_footer_and_others(ask, latest):
    footers, counts = ask("Another threshold")
    assert '"decision": 1.0' in footers.thresholds[0]
    expected = [(latest.decision >= threshold).sum() for threshold in counts.threshold]
    assert counts.called_fake.tolist() == expected


def test_two_detectors(ask, rows):
    (found,) = ask("Two detectors on the same items")
    new = rows[rows.detector == "new"].drop(columns=["detector"])
    # The latest row of each item by the old one, where it is of the version that the new one saw, and was there first.
    old = rows[rows.detector == "old"].sort_values("scored_at").groupby("item_id", as_index=False).last()
    both = old.merge(new, on=["item_id", "version"], suffixes=("_old", "_new"))
    both = both[both.scored_at_old < both.scored_at_new]
    expected = both[["verdict_old", "verdict_new"]].value_counts(dropna=False)
    assert len(both) > 0
    assert found["items"].tolist() == expected.tolist()


def test_with_the_manifest(ask, latest):
    (found,) = ask("With what the manifest knows")
    assert found["items"].sum() == (latest.status == "ok").sum()
    assert set(zip(found.generator, found.label, strict=True)) == {("camera", 0), ("style_gan", 1)}


def test_which_clusters_are_fake(ask, latest):
    (found,) = ask("Which clusters are fake")
    ok = latest[(latest.status == "ok") & (latest.version == "v0")]
    cluster = ok.uri.str.extract(r"(\d+)\.jpg$")[0].astype(int) % 5
    expected = (ok.verdict == "fake").groupby(cluster).agg(["size", "mean"])
    assert found.set_index("cluster")["items"].to_dict() == expected["size"].to_dict()
    assert found.set_index("cluster").fake.to_dict() == pytest.approx(expected["mean"].to_dict())


def test_from_an_object_store(s3, rows, capsys):
    store = Store(f"{s3}/reports/crawls")
    table = pa.Table.from_pandas(rows.reindex(columns=REPORT_SCHEMA.names), REPORT_SCHEMA, preserve_index=False)
    Ledger(store, "report", REPORT_SCHEMA, "old", footer("report", {})).commit("a.parquet", table)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    # pyarrow.dataset names an S3 endpoint in the URI itself; the environment does it for clipfake and for AWS.
    exec(code.replace("s3://reports/crawls", f"{s3}/reports/crawls"), {})
    assert str((rows.verdict == "fake").sum()) in capsys.readouterr().out


READERS = re.search(r"## From other readers.*?```py\n(.*?)```", TEXT, re.DOTALL)[1].splitlines()
CAME_LATER = ("declared", "group_id", "unfamiliarity")


@pytest.fixture(scope="module")
def grown(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):
    """A report whose first file is older than some columns and whose last has errors alone, below a misleading name."""
    folder = tmp_path_factory.mktemp("readers") / "status=nightly" / "reports"
    ledger = Ledger(Store(f"file://{folder}"), "report", REPORT_SCHEMA, "old", footer("report", {"detector": "old"}))
    full = rows[rows.run_id == "run0old"].reindex(columns=REPORT_SCHEMA.names)
    parts = {name: full[full.status == name] for name in ("truncated", "ok", "missing")}
    for name, part in parts.items():
        ledger.commit(f"{name}.parquet", pa.Table.from_pandas(part, REPORT_SCHEMA, preserve_index=False))
    old = pa.Table.from_pandas(parts["truncated"], REPORT_SCHEMA, preserve_index=False).drop_columns(CAME_LATER)
    (folder / "truncated.parquet").unlink()
    pq.write_table(old.replace_schema_metadata(ledger.footer), folder / "a.parquet")
    (folder / "_runs").mkdir()
    (folder / "_runs" / "r.json").write_text("{}")
    return folder, full


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("line", READERS)
def test_each_reader_reads_all_rows(line, compacted, grown, tmp_path):
    name = line.partition(".")[0]
    scope = {name: pytest.importorskip({"spark": "pyspark"}.get(name, name))}
    if name == "pyarrow":
        pytest.importorskip("pyarrow.dataset")
    if name == "spark":
        if shutil.which("java") is None:
            pytest.skip("Spark needs Java")
        from pyspark.sql import SparkSession

        scope["spark"] = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    folder, expected = grown
    place = tmp_path / "status=nightly" / "reports"
    shutil.copytree(folder, place)
    if compacted:
        compact(str(place))
    elif name == "polars":
        pytest.skip("Polars refuses files that differ in their columns, as the text says")
    found = eval(line.replace('"reports', f'"{place}').replace("'reports", f"'{place}"), scope)
    for method in ("df", "to_pandas", "toPandas"):
        found = getattr(found, method)() if hasattr(found, method) else found
    assert found.status.value_counts().to_dict() == expected.status.value_counts().to_dict()
    assert found.item_id.nunique() == ITEMS and found.decision.notna().sum() == expected.decision.notna().sum()
    if compacted:
        assert set(REPORT_SCHEMA.names) <= set(found.columns)
