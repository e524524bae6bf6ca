"""`clipfake score`: an option that does nothing for the given input is refused in one line, before any work."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.cli.app import main


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Folders `embeddings` and `manifest`, which say in their footers what they are, as the working directory."""
    for kind in ("embeddings", "manifest"):
        (tmp_path / kind).mkdir()
        table = pa.table({"item_id": ["file:///a"]}).replace_schema_metadata({"clipfake.kind": kind})
        pq.write_table(table, tmp_path / kind / "part-00000.parquet")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        "--precision bf16", "--layout csv", "--columns label=x", "--batch-size 8", "--max-bytes 5", "--max-pixels 5",
        "--decode-timeout 1", "--decode-memory 5", "--encoder A/b.pt", "--save-embeddings E",
        "--layout images", "--decode-timeout 20",  # their defaults, but typed
        "--precision fp32 --batch-size 8",
    ],
)  # fmt: skip
def test_scoring_embeddings_reads_no_image(inputs, monkeypatch, capsys, given):
    words = given.split()
    monkeypatch.setattr(sys, "argv", ["clipfake", "score", "embeddings", "--out", "out", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    verb, what = ("do", "them") if len(words) > 2 else ("does", "it")
    names = ", ".join(words[::2])
    assert (
        line == f"clipfake: {names} {verb} nothing for stored embeddings, of which no image is read: leave {what} out"
    )


@pytest.mark.parametrize("command", ["score", "embed --encoder ViT-S-32-alt/untrained"])
@pytest.mark.parametrize("given", ["--layout csv", "--layout images", "--columns label=x"])
def test_a_manifest_is_listed_already(inputs, monkeypatch, capsys, command, given):
    name, *more = command.split()
    monkeypatch.setattr(sys, "argv", ["clipfake", name, "manifest", *more, "--out", "out", *given.split()])
    monkeypatch.setattr("clipfake.scoring.listing.read_manifest", lambda place: pq.ParquetDataset("manifest"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"clipfake: {given.split()[0]} does nothing for a manifest")
