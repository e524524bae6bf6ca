"""What would fail or hang is said before a run starts: each check by what makes it fire, and a whole examination."""

import json
import time
from dataclasses import replace

import pytest

from clipfake.cli import doctor as command
from clipfake.detector.bundle import Detector
from clipfake.errors import ClipfakeError
from clipfake.onray.nodes import Node
from clipfake.operate import doctor as examination
from clipfake.operate.checks import (
    FAIL,
    OK,
    WARN,
    check_auth,
    check_clock,
    check_disk,
    check_encoder,
    check_layout,
    check_shm,
    check_source,
    check_storage,
    check_versions,
    expected_speed,
    unplaced,
)
from clipfake.operate.doctor import Question, doctor, exit_code
from clipfake.operate.node_facts import EncoderFacts, encoder_facts, node_facts
from clipfake.scoring.layout import plan_layout
from clipfake.storage.store import Store

HERE = {"clipfake": "0.1.0", "python": "3.11.7", "ray": "2.60.0", "pillow": "12.0"}


@pytest.mark.parametrize(
    ("finding", "state", "says"),
    [
        (check_auth("token", True, "10.0.0.1:6379"), OK, "a token is asked for"),
        (check_auth("token", False, None), OK, "Ray makes one on this machine"),
        (check_auth("token", False, "10.0.0.1:6379"), FAIL, "set RAY_AUTH_TOKEN"),
        (check_auth("disabled", False, None), WARN, "runs code there"),
        (check_versions("n", HERE, HERE), OK, "ray 2.60.0, as here"),
        (check_versions("n", HERE | {"ray": "2.59.0"}, HERE), FAIL, "ray 2.59.0 (here 2.60.0)"),
        (check_versions("n", HERE | {"pillow": "11.0"}, HERE), WARN, "pillow 11.0 (here 12.0)"),
        (check_clock("n", 105.0, 100.0, 110.0), OK, "agrees"),
        (check_clock("n", 80.0, 100.0, 110.0), WARN, "20 s off"),
        (check_clock("n", 2000.0, 100.0, 110.0), FAIL, "1890 s off"),
        (check_disk("n", 100 << 30, 200 << 30), OK, "free"),
        (check_disk("n", 8 << 30, 100 << 30), WARN, "free"),
        (check_disk("n", 4 << 30, 100 << 30), FAIL, "runs stop"),
        (check_shm("n", 8 << 30, 4 << 30), OK, "object store"),
        (check_shm("n", 64 << 20, 4 << 30), WARN, "--shm-size"),
        (check_storage("n", "abc", "abc"), OK, "what the driver wrote"),
        (check_storage("n", "FileNotFoundError: x", "abc"), FAIL, "not shared"),
        (check_source("n", "file:///a%20b", None), OK, "is there"),
        (check_source("n", "file:///a%20b", "it is not there"), FAIL, "/a b cannot be read there"),
        (check_encoder("n", EncoderFacts("no weights"), "cpu"), FAIL, "no weights"),
        (check_encoder("n", EncoderFacts(None, "cpu", 1.0, 9.0), "cuda"), FAIL, "torch sees none"),
        (check_encoder("n", EncoderFacts(None, "cpu", 1.0, 9.0), "cpu"), OK, "9 images/s"),
    ],
)
def test_each_check_fires(finding, state, says):
    assert finding.state == state
    assert says in finding.said


def test_a_cluster_without_a_free_cpu_would_wait():
    nodes = [Node(4.0), Node(4.0)]
    layout, finding = check_layout(nodes, nodes)
    assert (finding.state, layout) == (OK, plan_layout(nodes, 1 << 40))
    _, finding = check_layout(nodes, [Node(4.0), Node(1.0)])
    assert finding.state == FAIL
    assert "3 of these actors find no room" in finding.said
    layout, finding = check_layout([Node(0.0)], [Node(0.0)])
    assert (layout, finding.state) == (None, FAIL)
    assert "no node with a CPU" in finding.said


def test_nodes_that_an_autoscaler_is_to_bring_are_planned_with():
    nodes = [Node(0.0), Node(4.0)]
    layout, finding = check_layout(nodes, nodes, 3)
    assert (finding.state, layout) == (OK, plan_layout([Node(4.0)] * 3, 1 << 40))
    assert "2 nodes are to be brought by an autoscaler; 12 encoders" in finding.said
    _, finding = check_layout(nodes, [Node(0.0), Node(1.0)], 3)
    assert "3 of these actors find no room" in finding.said
    layout, finding = check_layout([Node(0.0)], [Node(0.0)], 3)
    assert (layout, finding.state) == (None, WARN)


def test_encoders_that_share_a_gpu_are_planned_with():
    nodes = [Node(16.0, 1.0)]
    layout, finding = check_layout(nodes, nodes, encoders_per_gpu=4)
    assert (finding.state, layout) == (OK, plan_layout(nodes, 1 << 40, encoders_per_gpu=4))
    assert "4 encoders on cuda (of 0 CPUs, 0.25 GPUs)" in finding.said


@pytest.mark.parametrize("nodes", [[Node(1.0)], [Node(2.0)], [Node(16.0, 1.0)], [Node(64.0, 8.0), Node(32.0)]])
def test_what_is_planned_finds_room_on_an_idle_cluster(nodes):
    assert unplaced(plan_layout(nodes, 1 << 40), nodes) == 0


def test_the_speed_to_expect_is_the_last_runs_else_the_encoders():
    layout = plan_layout([Node(4.0), Node(4.0)], 1 << 40)
    assert "123 images/s in the last" in expected_speed(layout, [10.0], 123.0).said
    assert "at most 120 images/s" in expected_speed(layout, [10.0, 20.0], None).said
    assert expected_speed(layout, [], None).state == WARN


def test_a_node_tells_its_facts(tmp_path):
    (tmp_path / "file.json").write_text("held")
    place = f"file://{tmp_path}"
    facts = node_facts(str(tmp_path), place, "file.json", place)
    assert (facts.token, facts.source) == ("held", None)
    assert 0 < facts.disk[0] <= facts.disk[1]
    assert abs(facts.clock - time.time()) < 60
    other = node_facts(str(tmp_path), place, "nothing.json", f"{place}/nowhere")
    assert "FileNotFoundError" in (other.token or "")
    assert other.source == "it is not there"


@pytest.mark.slow
def test_a_detector_whose_test_card_does_not_hold_is_said(detector, tmp_path):
    trained = Detector.load(Store(f"file://{detector}"))
    replace(trained, test_card=-trained.test_card).save(Store(f"file://{tmp_path}/other"))
    facts = encoder_facts(f"file://{tmp_path}/other", None, 1, 4, "fp32")
    assert facts.problem is not None
    assert "test card" in facts.problem


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_a_finding(warm_ray, monkeypatch, free_port, tmp_path):
    """With a Ray there: one that starts after its token was asked for loses its actors (Ray 2.60)."""

    def unreachable(num_cpus: int | None) -> None:  # as a process without a Ray of its own would see it
        raise ClipfakeError(f"no Ray cluster answers at RAY_ADDRESS=127.0.0.1:{free_port()}")

    monkeypatch.setattr(examination, "connected", unreachable)
    found = {finding.check: finding for finding in doctor(Question(detector=str(tmp_path)))}
    assert exit_code(list(found.values())) == 1
    assert "no Ray cluster answers" in found["cluster"].said
    assert found["detector"].state == FAIL
    assert found["auth"].state == WARN  # the tests' Ray asks for none


@pytest.mark.slow
def test_a_whole_examination(warm_ray, pictures, detector, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    found = doctor(Question(str(pictures), str(detector), str(out)))
    by_check = {finding.check: finding for finding in found}
    names = {"auth", "detector", "cluster", "layout", "versions", "clock", "disk", "/dev/shm", "storage", "source"}
    assert by_check.keys() == names | {"encoder", "speed"}
    assert {f.check: f.said for f in found if f.state == FAIL} == {}
    assert "test card holds" in by_check["encoder"].said
    assert not out.exists()  # nothing is left of the file that the nodes read

    monkeypatch.setattr(examination, "doctor", lambda question: found)
    command.doctor(Question(), as_json=True)
    assert json.loads(capsys.readouterr().out)["exit_code"] == 0
    monkeypatch.setattr(
        examination, "doctor", lambda question: [*found, by_check["auth"], replace(found[0], state=FAIL)]
    )
    with pytest.raises(command.typer.Exit):
        command.doctor(Question())
    assert "FAIL " in capsys.readouterr().out
