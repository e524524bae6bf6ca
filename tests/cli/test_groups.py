"""`clipfake groups` of a folder of videos: a verdict for each video, whatever is wrong with some of them."""

import json

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from films import animation, film
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.report import groups as library
from clipfake.report.groups import GroupsSummary
from clipfake.storage import uri as uris

FOUND = GroupsSummary(
    groups=3, members=9, scored=8, verdict={"real": 1, "fake": 2},
    stability=[{"members": 1, "groups": 3, "agreement": 0.75}], detector="d" * 64, top_k=5,
)  # fmt: skip


def test_tables_and_a_sentence(monkeypatch):
    seen = []
    monkeypatch.setattr(library, "make_groups", lambda *given: seen.extend(given) or FOUND)
    done = CliRunner().invoke(app, ["groups", "R", "--out", "O", "--detector", "ddd", "--top-k", "5"])
    assert done.exit_code == 0, done.output
    assert seen == ["R", "O", "ddd", 5]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines.index(["fake", "2"]) < lines.index(["real", "1"])  # the most frequent first
    assert ["1", "3", "0.750"] in lines
    assert f"3 groups of 9 members (8 scored) by detector {'d' * 16} -> O/groups.parquet" in done.stdout
    assert json.loads(CliRunner().invoke(app, ["groups", "R", "--out", "O", "--json"]).stdout)["top_k"] == 5


@pytest.mark.slow
def test_ten_videos_of_which_two_are_damaged(detector, tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    random = np.random.default_rng(0)
    shown = [random.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(4)]
    whole = film("mov", "mpeg4")
    films = {f"{n}.mp4": film("mp4", "h264", shown=one) for n, one in enumerate(shown)}
    films |= {"4.webm": film("webm", "libvpx-vp9"), "5.mov": whole}
    films |= {"6.gif": animation("gif"), "7.webp": animation("webp")}
    films |= {"8.webm": films["4.webm"][: len(films["4.webm"]) // 2], "9.mov": whole[: len(whole) // 2]}
    for name, data in films.items():
        (tmp_path / "videos" / name).write_bytes(data)

    def run(*arguments: object) -> None:
        found = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
        assert found.exit_code == 0, found.output

    options = ("--layout", "videos", "--frames", 4)
    run("score", "videos", *options, "--detector", detector, "--out", "reports", "--max-error-rate", 1)
    run("groups", "reports", "--out", "groups")
    rows = ds.dataset("reports", format="parquet", exclude_invalid_files=True).to_table().to_pylist()
    status = {(uris.shown(row["uri"]).rpartition("/")[2], row["member"]): row["status"] for row in rows}
    assert len(rows) == len(status) == 9 * 4 + 1  # the header of 9.mov is gone, and with it its length
    bad = {key: value for key, value in status.items() if value != "ok"}
    assert bad.pop(("9.mov", "t=0.00")) == "corrupt"
    assert bad == {("8.webm", "t=1.88"): "truncated", ("8.webm", "t=2.62"): "truncated"}
    assert len({row["content_sha256"] for row in rows}) == len(rows)
    groups = {row["group_id"]: row for row in pq.read_table("groups/groups.parquet").to_pylist()}
    assert set(groups) == {uris.from_path(str(tmp_path / "videos" / name)) for name in films}
    found = {uris.shown(name).rpartition("/")[2]: row for name, row in groups.items()}
    assert {name: (row["members"], row["scored"]) for name, row in found.items()} == {
        **dict.fromkeys(films, (4, 4)), "8.webm": (4, 2), "9.mov": (1, 0),
    }  # fmt: skip
    assert [name for name, row in found.items() if row["verdict"] is None] == ["9.mov"]
