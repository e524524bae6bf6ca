"""Stored embeddings on their way to report rows: also those of files that are older than some columns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.engine.detect import read_embeddings
from clipfake.engine.scan import _report_rows
from clipfake.report.schema import ENCODING, REPORT_SCHEMA, embedding_schema


def test_old_and_new_files_in_one_chunk_keep_what_they_have(tmp_path):
    schema = embedding_schema(4, "fp32")
    young = ["declared", *(field.name for field in ENCODING)]
    for file in ("old", "new"):
        made = {"item_id": [f"{file}{i}" for i in range(3)], "group_id": ["g", None, "h"], "embedding": [[1.0] * 4] * 3}
        made |= {"declared": ["software: X", None, "parameters: Y"], "view": [0] * 3, "version": ["1"] * 3}
        made |= {"uri": ["file:///u"] * 3, "status": ["ok"] * 3}
        columns = [pa.array(made.get(field.name, [None] * 3), field.type) for field in schema]
        table = pa.table(columns, schema=schema)
        pq.write_table(table.drop_columns(young) if file == "old" else table, tmp_path / f"{file}.parquet")
    wanted = [("old", 2), ("new", 2), ("new", 0), ("old", 0)]
    for files in (wanted, [one for one in wanted if one[0] == "old"]):
        source, row = zip(*files, strict=True)
        chunk = pa.table({"source": [f"file://{tmp_path}/{name}.parquet" for name in source], "row": row})
        stored = read_embeddings(chunk)
        for name in ("decision", "probability", "unfamiliarity"):
            stored = stored.append_column(name, pa.array(np.zeros(len(files))))
        stored = stored.append_column("verdict", pa.array(["real"] * len(files)))
        rows = _report_rows(stored, detector="d", run_id="r")
        assert rows.schema == REPORT_SCHEMA
        found = {r["item_id"]: (r["group_id"], r["declared"]) for r in rows.to_pylist()}
        expected = {
            "old2": ("h", None),
            "new2": ("h", "parameters: Y"),
            "new0": ("g", "software: X"),
            "old0": ("g", None),
        }
        assert found == {f"{name}{at}": expected[f"{name}{at}"] for name, at in files}
