"""`clipfake embed` passes its options on as dataclasses."""

from types import SimpleNamespace
from typing import Any

from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.corpus.layouts import LayoutOptions
from clipfake.images.limits import Limits
from clipfake.scoring import score
from clipfake.scoring.options import EmbedOptions, JobOptions, ScanOptions


def test_options_reach_the_library(monkeypatch):
    seen: list[Any] = []

    def embed(*given: Any) -> Any:
        seen.extend(given)
        return SimpleNamespace(record={"listed": 3}, exit_code=0)

    monkeypatch.setattr(score, "embed", embed)
    given = "M --encoder A/untrained --out O --text caption --allow-word cat --allow-word dog --views 2 --layout csv"
    given += " --columns label=target --max-bytes 9 --decode-timeout 3 --stall-timeout 7 --dry-run --json"
    done = CliRunner().invoke(app, ["embed", *given.split()])
    assert done.exit_code == 0, done.output
    assert done.stdout == '{\n "listed": 3\n}\n'
    source, encoder, out, options, _, what = seen
    assert (source, encoder, out) == ("M", "A/untrained", "O")
    assert what == EmbedOptions(text="caption", allow_words=("cat", "dog"), views=2)
    listing = LayoutOptions(columns={"label": "target"})
    job = JobOptions(stall_timeout=7.0, dry_run=True)
    assert options == ScanOptions("csv", listing, limits=Limits(max_bytes=9, timeout_s=3.0), job=job)
