"""Each check of `clipfake doctor`, by what makes it fire."""

import pytest

from clipfake.onray.nodes import Node
from clipfake.operate.checks import (
    FAIL,
    OK,
    WARN,
    check_auth,
    check_clock,
    check_disk,
    check_encoder,
    check_placement,
    check_shm,
    check_source,
    check_storage,
    check_temporary,
    check_versions,
    expected_speed,
    unplaced,
)
from clipfake.operate.node_facts import EncoderFacts
from clipfake.scoring.placement import plan_placement

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
        (check_temporary("/scratch", 80 << 30), OK, "86 GB free in /scratch: planning takes"),
        (check_temporary("/tmp", 2 << 30), WARN, "TMPDIR names another"),
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
    placement, finding = check_placement(nodes, nodes)
    assert (finding.state, placement) == (OK, plan_placement(nodes, 1 << 40))
    _, finding = check_placement(nodes, [Node(4.0), Node(1.0)])
    assert finding.state == FAIL
    assert "3 of these actors find no room" in finding.said
    placement, finding = check_placement([Node(0.0)], [Node(0.0)])
    assert (placement, finding.state) == (None, FAIL)
    assert "no node with a CPU" in finding.said


def test_nodes_that_an_autoscaler_is_to_bring_are_planned_with():
    nodes = [Node(0.0), Node(4.0)]
    placement, finding = check_placement(nodes, nodes, 3)
    assert (finding.state, placement) == (OK, plan_placement([Node(4.0)] * 3, 1 << 40))
    assert "2 nodes to be brought by an autoscaler; 12 encoders" in finding.said
    _, finding = check_placement(nodes, [Node(0.0), Node(1.0)], 3)
    assert "3 of these actors find no room" in finding.said
    placement, finding = check_placement([Node(0.0)], [Node(0.0)], 3)
    assert (placement, finding.state) == (None, WARN)


def test_encoders_that_share_a_gpu_are_planned_with():
    nodes = [Node(16.0, 1.0)]
    placement, finding = check_placement(nodes, nodes, encoders_per_gpu=4)
    assert (finding.state, placement) == (OK, plan_placement(nodes, 1 << 40, encoders_per_gpu=4))
    assert "4 encoders on cuda (of 0 CPUs, 0.25 GPUs)" in finding.said


@pytest.mark.parametrize("nodes", [[Node(1.0)], [Node(2.0)], [Node(16.0, 1.0)], [Node(64.0, 8.0), Node(32.0)]])
def test_what_is_planned_finds_room_on_an_idle_cluster(nodes):
    assert unplaced(plan_placement(nodes, 1 << 40), nodes) == 0


def test_the_speed_to_expect_and_what_will_be_the_limit():
    placement = plan_placement([Node(4.0), Node(4.0)], 1 << 40)
    nodes = [EncoderFacts(None, "cpu", 1.0, 10.0, 200.0), EncoderFacts(None, "cpu", 1.0, 20.0, 280.0)]
    assert "123 images/s in the last" in expected_speed(placement, nodes, 123.0).said
    said = expected_speed(placement, nodes, None).said  # 8 encoders and, in turns with them, 8 children
    assert "at most 113 images/s" in said
    assert "(encoders: 8, 120; decoding processes: 8, 1,920): the encoders will be the limit" in said
    assert expected_speed(placement, [], None).state == WARN


@pytest.mark.parametrize(
    ("on_gpus", "decoded", "total", "children"), [(False, 200, 2_400, 12), (True, 1_000, 14_000, 14)]
)
def test_beside_a_gpu_the_cores_are_the_limit_of_a_small_encoder(on_gpus, decoded, total, children):
    placement = plan_placement([Node(16.0, 1.0)], 1 << 40, on_gpus=on_gpus)
    said = expected_speed(placement, [EncoderFacts(None, "cuda", 1.0, 27_000.0, decoded)], None).said
    assert f"at most {total:,} images/s" in said
    assert f"(encoders: 1, 27,000; decoding processes: {children}, {total:,}): decoding will be the limit" in said
    large = expected_speed(placement, [EncoderFacts(None, "cuda", 1.0, 1_900.0, decoded)], None).said
    assert "at most 1,900 images/s" in large
    assert "the encoders will be the limit" in large
