"""`make lint` fails on a known vulnerability, and says in one line where it could not ask for any."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / ".ci" / "audit.py"
CLEAN = {"name": "pillow", "version": "12.0.0", "vulns": []}
HOLED = {"name": "aiohttp", "version": "3.0.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.0.1"], "aliases": []}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.11.0)"}
NETWORK = "Traceback (most recent call last):\n  File ...\nrequests.exceptions.ProxyError: cannot connect to proxy"
BLOCKED = "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service with `-s SERVICE`"
WRONG = "ERROR:pip_audit._cli:requirement file requirements.lock contains invalid specifier at line 1"


@pytest.fixture
def audit(tmp_path: Path) -> Callable[[int, str, str], int]:
    """audit(code, stdout, stderr) -> the exit code where pip-audit ends like this."""

    def run(code: int, stdout: str, stderr: str) -> int:
        fake = tmp_path / "pip-audit"
        fake.write_text(
            f"#!{sys.executable}\nimport sys\nassert sys.argv[sys.argv.index('--requirement') + 1] == 'some.lock'\n"
            f"sys.stdout.write({stdout!r})\nsys.stderr.write({stderr!r})\nsys.exit({code})\n"
        )
        fake.chmod(0o755)
        return runpy.run_path(str(AUDIT))["main"]("some.lock", str(fake))

    return run


@pytest.mark.parametrize(
    ("code", "packages", "exit_code", "lines"),
    [
        (1, [CLEAN, HOLED], 1, ["aiohttp 3.0.0: PYSEC-1, mended in 3.0.1", "2 packages audited, 1 known"]),
        (0, [CLEAN], 0, ["1 packages audited, 0 known"]),
        (0, [CLEAN, UNKNOWN], 0, ["1 packages audited, 0 known", "not audited: torch"]),
        (1, [UNKNOWN, HOLED], 1, ["PYSEC-1", "1 packages audited, 1 known", "not audited: torch"]),
        (0, [UNKNOWN, UNKNOWN], 0, ["NOT AUDITED: no advisory service answers here (Dependency not found"]),
        (0, [], 0, ["NOT AUDITED"]),
    ],
)
def test_what_pip_audit_found(audit, capsys, code, packages, exit_code, lines):
    assert audit(code, json.dumps({"dependencies": packages, "fixes": []}), "") == exit_code
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(lines)
    assert all(wanted in line for wanted, line in zip(lines, said, strict=True))


@pytest.mark.parametrize("stderr", [NETWORK, BLOCKED])
def test_no_network_is_no_failure(audit, capsys, stderr):
    assert audit(1, "", stderr) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "NOT AUDITED" in line
    assert stderr.splitlines()[-1] in line


def test_a_broken_audit_is_a_failure(audit, capsys):
    """Else nobody would notice that nothing is audited any more."""
    assert audit(1, "", WRONG) == 1
    assert "invalid specifier" in capsys.readouterr().err
