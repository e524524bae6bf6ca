"""What would fail or hang is said before a run starts: a whole examination of this machine."""

import json
from dataclasses import replace

import pytest

from clipfake.cli import doctor as command
from clipfake.errors import ClipfakeError
from clipfake.operate import doctor as examination
from clipfake.operate.checks import FAIL, WARN
from clipfake.operate.doctor import DoctorOptions, doctor, exit_code


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_a_finding(warm_ray, monkeypatch, free_port, tmp_path):
    """With a Ray there: one that starts after its token was asked for loses its actors (Ray 2.60)."""

    def unreachable(num_cpus: int | None) -> None:  # as a process without a Ray of its own would see it
        raise ClipfakeError(f"no Ray cluster answers at RAY_ADDRESS=127.0.0.1:{free_port()}")

    monkeypatch.setattr(examination, "connected", unreachable)
    found = {finding.check: finding for finding in doctor(DoctorOptions(detector=str(tmp_path)))}
    assert exit_code(list(found.values())) == 1
    assert "no Ray cluster answers" in found["cluster"].said
    assert found["detector"].state == FAIL
    assert found["auth"].state == WARN  # the tests' Ray asks for none


@pytest.mark.slow
def test_a_whole_examination(warm_ray, pictures, detector, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    found = doctor(DoctorOptions(str(pictures), str(detector), str(out)))
    by_check = {finding.check: finding for finding in found}
    names = {
        "auth",
        "detector",
        "cluster",
        "layout",
        "versions",
        "clock",
        "disk",
        "temporary",
        "/dev/shm",
        "storage",
        "source",
    }
    assert by_check.keys() == names | {"encoder", "speed"}
    assert {f.check: f.said for f in found if f.state == FAIL} == {}
    assert "test card holds" in by_check["encoder"].said
    assert not out.exists()  # nothing is left of the file that the nodes read

    monkeypatch.setattr(examination, "doctor", lambda question: found)
    command.doctor(DoctorOptions(), as_json=True)
    assert json.loads(capsys.readouterr().out)["exit_code"] == 0
    monkeypatch.setattr(
        examination, "doctor", lambda question: [*found, by_check["auth"], replace(found[0], state=FAIL)]
    )
    with pytest.raises(command.typer.Exit):
        command.doctor(DoctorOptions())
    assert "FAIL " in capsys.readouterr().out
