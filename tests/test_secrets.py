"""A secret in the environment or typed where none belongs is in nothing that is printed, logged or written."""

import logging
from pathlib import Path

import pytest

from clipfake.cli.app import main

SECRET = "cf-S3cr3t-0f-th3-t3st"
URI = f"s3://KEY:{SECRET}@bucket/x"
REFUSED = [
    ["index", URI, "--out", "out"],
    ["index", ".", "--out", URI],
    ["audit", URI],
    ["embed", URI, "--encoder", "ViT-S-32-alt/untrained", "--out", "out"],
    ["embed", "{pictures}", "--encoder", "ViT-S-32-alt/untrained", "--out", URI],
    ["embed", "{pictures}", "--encoder", f"ViT-S-32-alt/{URI}/w.safetensors", "--out", "out"],
    ["train", URI, "--out", "out"],
    ["train", "{pictures}", "--out", URI],
    ["evaluate", URI, "--detector", "{detector}"],
    ["score", URI, "--detector", "{detector}", "--out", "out"],
    ["score", "{pictures}", "--detector", URI, "--out", "out"],
    ["score", "{pictures}", "--detector", "{detector}", "--out", URI],
    ["score", "{pictures}", "--detector", "{detector}", "--out", "out", "--save-embeddings", URI],
    ["score", "{pictures}", "--detector", "{detector}", "--out", "out", "--encoder", f"ViT-S-32-alt/{URI}/w.pt"],
    ["nightly", URI + "/{{date}}", "--date", "2026-11-01", "--detector", "{detector}", "--out", "o", "--pages", "p"],
    ["report", URI, "--out", "page.html"],
    ["report", "{pictures}", "--out", URI],
    ["compact", URI],
    ["drift", URI],
    ["prevalence", URI, "--detector", "{detector}"],
    ["groups", URI, "--out", "out"],
    ["similar", "picture.jpg", URI],
    ["clusters", URI, "--out", "out"],
    ["doctor", "--out", URI],
    ["detector", "show", URI],
]


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["clipfake"])
    with pytest.raises(SystemExit) as ended:
        main(*arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("arguments", REFUSED, ids=[f"{i}-{line[0]}" for i, line in enumerate(REFUSED)])
def test_credentials_in_a_uri_are_refused_and_not_repeated(
    arguments, pictures, detector, tmp_path, monkeypatch, capfd, caplog
):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    code = run([word.format(pictures=pictures, detector=detector) for word in arguments], monkeypatch)
    out, err = capfd.readouterr()
    assert code == 2, out + err
    assert SECRET not in out + err + caplog.text
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_keys_and_tokens_of_the_environment_are_in_nothing_that_a_run_leaves(
    pictures, packed_detector, tmp_path, monkeypatch, capfd, caplog
):
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    caplog.set_level(logging.DEBUG, "clipfake")
    out = tmp_path / "reports"
    (tmp_path / "corpus").mkdir()
    for i in range(3):
        (tmp_path / "corpus" / f"{i}.jpg").write_bytes((pictures / f"{i:02d}.jpg").read_bytes())
    arguments = ["score", str(tmp_path / "corpus"), "--detector", str(packed_detector), "--out", str(out), "--json"]
    monkeypatch.setattr("sys.argv", ["clipfake"])
    with pytest.raises(SystemExit) as ended:
        main(*arguments)
    assert not ended.value.code
    printed = "".join(capfd.readouterr()) + caplog.text
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {Path("_runs")} <= {path.relative_to(out).parent for path in files}
    assert SECRET not in printed
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
