"""The command line: light to start, clear when it refuses, and the README's queries run."""

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from clipfake import __version__
from clipfake.cli.app import app, main
from clipfake.corpus.layouts import LAYOUTS

ROOT = Path(__file__).parents[2]
HEAVY = ("ray", "torch", "torchvision", "open_clip", "sklearn", "pyarrow", "duckdb", "numpy", "PIL")


def clipfake(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clipfake", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom clipfake.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "score" in done.stdout


def _cpu_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_at_most_half_more_than_an_empty_app():
    commands = len(app.registered_commands)
    empty = (
        "import typer\napp = typer.Typer()\n"
        + "".join(f"@app.command()\ndef c{i}(a: str, b: int = 1):\n    'Does it.'\n" for i in range(commands))
        + "try: app(['--help'])\nexcept SystemExit: pass"
    )
    ours = "from clipfake.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass"
    pairs = [(_cpu_seconds(ours), _cpu_seconds(empty)) for _ in range(5)]
    assert statistics.median(a / b for a, b in pairs) <= 1.5


def test_index_help_names_every_layout():
    text = CliRunner().invoke(app, ["index", "--help"]).output
    assert all(re.search(rf"\b{name}\b", text) for name in LAYOUTS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["index", "nowhere", "--out", "out"], "nowhere"),
        (["index", "s3://key:secret@bucket/x", "--out", "out"], "environment"),
        (["index", ".", "--out", "out", "--layout", "nosuch"], "nosuch"),
        (["embed", "nowhere", "--encoder", "ViT-S-32-alt/untrained", "--out", "out"], "nowhere"),
        (["embed", "texts", "--encoder", "ViT-B-32/openai", "--out", "out"], "no image"),
        (["embed", "images", "--encoder", "ViT-B-32/openai", "--out", "out"], "ViT-B-32-quickgelu/openai"),
        (["embed", "images", "--encoder", "ViT-S-32-alt/untrained", "--out", "out", "--precision", "fp8"], "fp8"),
        (["index", "images", "--out", "images/out"], "lies in the corpus"),
        (["embed", "images", "--encoder", "ViT-S-32-alt/untrained", "--out", "images/out"], "lies in the corpus"),
        (["score", "images", "--out", "images/out"], "lies in the corpus"),
        (["score", "images", "--out", "images"], "lies in the corpus"),
        (["score", "images", "--out", "out", "--save-embeddings", "images/emb"], "give --save-embeddings a place"),
        (["train", "images", "--out", "out"], "no embeddings"),
        (["train", "images", "--out", "out", "--preset", "best"], "no preset"),
        (["reproduce", "--artifact", "images", "--encoder", "ViT-S-32-alt/untrained", "--out", "out"], "cycle_gan"),
        (["score", "images", "--detector", "nowhere", "--out", "out"], "no detector"),
        (["score", "images", "--detector", "x", "--out", "out", "--max-error-rate", "7"], "max-error-rate"),
        (["compact", "images"], "nothing to compact"),
        (["train", "images", "--out", "out", "--calibration", "platt"], "platt"),
        (["train", "images", "--out", "out", "--prevalence", "7"], "--prevalence"),
        (["detector", "show", "images"], "no detector"),
        (["detector", "verify", "nowhere"], "no detector"),
        (["detector", "diff", "images", "images"], "no detector"),
    ],
)
def test_unusable_input_is_one_line_exit_2_and_writes_nothing(mess, arguments, says, monkeypatch, capsys):
    monkeypatch.chdir(mess)
    monkeypatch.setattr(sys, "argv", ["clipfake", *arguments])
    with pytest.raises(SystemExit) as ended:  # in this process: as many imports of torch would take minutes
        main()
    assert ended.value.code == 2
    _refused(capsys.readouterr().err, says, mess)


def test_so_it_is_from_a_shell(mess):
    command = [sys.executable, "-m", "clipfake", "embed", "nowhere", "--encoder", "RN50/untrained", "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=mess)
    assert done.returncode == 2
    _refused(done.stderr, "nowhere", mess)


def _refused(stderr: str, says: str, folder: Path) -> None:
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert says in lines[0]
    assert "key:secret" not in stderr
    assert not (folder / "out").exists()
    assert [path.name for path in (folder / "images").iterdir()] == ["a.png"]


@pytest.fixture
def mess(tmp_path):
    """A folder with a picture in `images` and none in `texts`."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("words")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "images" / "a.png")
    return tmp_path


@pytest.mark.slow
def test_one_cpu_gives_the_same_report_and_the_readmes_queries_run(crawl, packed_detector, tmp_path):
    corpus = shutil.copytree(crawl / "2026-11-01", tmp_path / "crawl")
    (Path(corpus) / "empty.jpg").write_bytes(b"")
    found = {}
    for cpus in (1, 2):
        out = tmp_path / f"reports{cpus}"
        done = clipfake("score", corpus, "--detector", packed_detector, "--out", out, "--num-cpus", cpus, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["status"] == {"ok": 130, "empty": 1}
        assert "ray" not in done.stderr.lower(), "a wall of Ray's log"
        rows = duckdb.sql(f"SELECT item_id, decision FROM '{out}/*.parquet' WHERE status = 'ok'").fetchall()
        found[cpus] = dict(rows)
    assert found[1].keys() == found[2].keys()
    assert all(found[1][key] == pytest.approx(found[2][key], abs=1e-4) for key in found[1])

    queries = re.search(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert queries
    results = [
        duckdb.sql(query.replace("'reports/", f"'{tmp_path}/reports1/")).to_arrow_table()
        for query in queries[1].split(";")
        if query.strip()
    ]
    assert len(results) == 5
    assert sorted(results[0].to_pylist(), key=str) == [
        {"status": "empty", "count_star()": 1},
        {"status": "ok", "count_star()": 130},
    ]
    assert results[-1].num_rows == 131


def test_the_version_is_the_packages():
    assert clipfake("--version").stdout == f"clipfake {__version__}\n"
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("ending", "code", "says"),
    [
        (">/dev/full", 2, "clipfake: no space left for the output"),
        (">&-", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 1, ""),
    ],
)
def test_output_that_cannot_be_written_is_no_traceback(ending, code, says):
    line = f"{sys.executable} -m clipfake --help {ending}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in ({code, 0} if ending.startswith("|") else {code})  # the reader may be slow to go
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == bool(says)


def test_help_groups_the_commands_and_shows_each_once():
    text = CliRunner().invoke(app, ["--help"]).stdout
    places = [text.index(f"\n{name}:\n") for name in ("Start", "Score", "Understand", "Train", "Operate")]
    assert places == sorted(places)
    shown = re.findall(r"^  ([a-z]+)  ", text[places[0] :], re.MULTILINE)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert sorted(shown) == sorted(commands)
