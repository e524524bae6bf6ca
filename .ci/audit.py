"""python .ci/audit.py LOCK: fails where a locked dependency has a known vulnerability, not where nobody can be asked.

pip-audit itself ends with 0 where the advisory service knows no package at all (a mirror answers for it), and with 1
where the service cannot be reached, as it does for what it finds.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

UNREACHABLE = re.compile(
    r"^(?:requests\.exceptions|pip_audit\._service\.interface)\.\w+.*|.*network may be blocking.*", re.M
)


def main(lock: str, command: str) -> int:
    """Asks the program `command` about the file `lock`; 1 where something is found or the audit itself is broken."""
    arguments = ["--requirement", lock, "--require-hashes", "--disable-pip", "--format=json", "--progress-spinner=off"]
    ran = subprocess.run([command, *arguments], capture_output=True, text=True)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        if reason := UNREACHABLE.search(ran.stderr):
            return not_audited(lock, reason[0])
        print(f"{command} failed on {lock}:\n{ran.stderr}", file=sys.stderr)
        return 1
    skipped = [package for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        return not_audited(lock, skipped[0]["skip_reason"] if skipped else "it names no package")
    found = [(package, hole) for package in packages for hole in package.get("vulns", ())]
    for package, hole in found:
        mended = ", ".join(hole["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}")
    print(f"{lock}: {len(packages) - len(skipped)} packages audited, {len(found)} known vulnerabilities")
    if skipped:
        print(f"{lock}: not audited: {', '.join(package['name'] for package in skipped)}")
    return int(bool(found))


def not_audited(lock: str, reason: str) -> int:
    print(f"{lock}: NOT AUDITED: no advisory service answers here ({reason[:200]})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], str(Path(sys.executable).with_name("pip-audit"))))
