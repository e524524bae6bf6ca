"""The commands in the pages for clusters are ones that exist: files, jobs, options and their values."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from clipfake.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = (
    "docs/kubernetes.md",
    "docs/ray-up.md",
    "docs/security.md",
    "docs/operations.md",
    "docs/reports.md",
    "README.md",
)
TOOLS = {"clipfake", "docker", "kubectl", "make", "pip", "ray", "export", "python"}


def commands(page: str) -> list[str]:
    """The lines of a page's indented blocks that are commands, continued lines joined and remarks cut off."""
    text = re.sub(r"\\\n\s*", "", (ROOT / page).read_text())
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [re.split(r"\s{2,}#|\s# ", line)[0] for line in lines if line.split(" ")[0] in TOOLS]


def understood(words: list[str]) -> None:
    """Raises where the command line would refuse these words; the command itself does nothing."""
    root = typer.main.get_command(app)
    groups = [root]
    for group in groups:
        groups += [one for one in group.commands.values() if hasattr(one, "commands")]  # type: ignore[attr-defined]
    for one in (command for group in groups for command in group.commands.values()):  # type: ignore[attr-defined]
        if not hasattr(one, "commands"):
            one.callback = lambda **_: None
    root.main(args=list(words), prog_name="clipfake", standalone_mode=False)


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in commands(page)])
def test_a_command_of_the_pages_is_one(page, line):
    if "[--" in line or "..." in line:
        pytest.skip("shows a form, not a command")
    words = shlex.split(line)
    for word in words:
        if word.startswith("cluster/"):
            assert (ROOT / word).exists()
    if words[:3] == ["ray", "job", "submit"]:
        words = words[words.index("--") + 1 :]
    if words[0] == "python":
        job = ROOT / words[1]
        assert job.exists()
        (command,) = re.findall(r'main\("(\w+)"\)', job.read_text())
        words = ["clipfake", command, *words[2:]]
    if words[0] == "clipfake" and "--help" not in words:
        understood(words[1:])


def test_the_pages_have_commands_and_one_that_is_none_is_noticed():
    assert all(commands(page) for page in PAGES if page not in ("docs/security.md", "docs/operations.md"))
    understood(["score", "corpus", "--detector", "d", "--out", "o"])
    for wrong in (["score", "corpus", "--no-such"], ["scores"], ["score", "--detector", "d"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            understood(wrong)
