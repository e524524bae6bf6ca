"""Whatever is killed whenever: no row is lost, none is there twice, and nothing unfinished is ever seen."""

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from chaos import Kill, Run, check_complete, check_whole, copy_images, halt_encoders, kill_tree, wait_for_nodes

from clipfake.storage.store import Store

pytestmark = pytest.mark.slow

ITEMS = 112  # 7 units


@pytest.fixture(scope="module")
def corpus(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_images(crawl, tmp_path_factory.mktemp("chaos") / "corpus", ITEMS)


@pytest.fixture(scope="module")
def detector(packed_detector: Path) -> Path:
    return packed_detector


@pytest.fixture
def warm_cluster(warm_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes join the Ray of this process, so that a kill hits the run and not the cluster."""
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, detector: Path, tmp_path_factory: pytest.TempPathFactory, warm_ray: None) -> pa.Table:
    """The rows of a run that nothing happens to."""
    from clipfake.scoring.options import JobOptions, ScanOptions
    from clipfake.scoring.score import score

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    score(str(corpus), str(detector), str(out), ScanOptions(job=JobOptions()), lambda n: lambda k: None)
    return Run(str(corpus), detector, Store(f"file://{out}")).read()


@pytest.mark.timeout(1200)
def test_the_driver_killed_before_between_and_inside_commits(warm_cluster, corpus, detector, undisturbed, tmp_path):
    run = Run(str(corpus), detector, Store(f"file://{tmp_path}/out"))
    for kill in (Kill(0), Kill(1), Kill(1, inside=True)):
        assert run.killed(kill), f"the run ended before {kill}"
        check_whole(run, ITEMS)
    run.quietly()
    check_complete(run, ITEMS, undisturbed)


@pytest.mark.timeout(600)
def test_a_careless_commit_is_noticed(warm_cluster, corpus, detector, tmp_path):
    """The chaos test itself is tested: with the commit step broken on purpose it must fail."""
    run = Run(str(corpus), detector, Store(f"file://{tmp_path}/out"), broken=True)
    process = run.start()
    assert run.wait_for(process, lambda: len(run.visible()) >= 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    with pytest.raises((AssertionError, pa.ArrowInvalid)):
        check_whole(run, ITEMS)


@pytest.mark.timeout(600)
def test_an_actor_killed_in_the_middle(warm_cluster, corpus, detector, undisturbed, tmp_path):
    run = Run(str(corpus), detector, Store(f"file://{tmp_path}/out"))
    process = run.start()
    for part in ("MapBatches(HandOver)", "clipfake.images.decoder_child"):
        seen = len(run.visible())
        assert run.wait_for(process, lambda seen=seen: len(run.visible()) > seen)
        assert run.wait_for(process, lambda part=part: kill_all(part))  # the part may be just about to come back
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    check_complete(run, ITEMS, undisturbed)


@pytest.mark.timeout(600)
def test_a_committer_killed_between_write_and_publish(warm_cluster, corpus, detector, undisturbed, tmp_path):
    run = Run(str(corpus), detector, Store(f"file://{tmp_path}/out"))
    process = run.start()
    for _ in range(2):
        seen = len(run.visible())
        assert run.wait_for(process, lambda seen=seen: len(run.visible()) > seen)
        assert run.wait_for(process, lambda: run.committing() and kill_all("ray::CommitActor.commit"))
        check_whole(run, ITEMS)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    check_complete(run, ITEMS, undisturbed)


def kill_all(part: str) -> int:
    """SIGKILL to all of our processes of this name; another Ray on this machine is none of our business."""
    killed = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if part in " ".join(process.cmdline()):
                process.kill()
                killed += 1
    return killed


@pytest.mark.timeout(900)
def test_a_worker_node_killed_in_the_middle_while_the_other_hangs(
    undisturbed, ray_node, free_port, corpus, detector, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    address = f"127.0.0.1:{free_port()}"
    head = ray_node("--head", "--num-cpus=1", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")
    wait_for_nodes(address, 1)
    worker = ray_node("--num-cpus=1", f"--address={address}")
    wait_for_nodes(address, 2)
    monkeypatch.setenv("RAY_ADDRESS", address)
    run = Run(
        str(corpus), detector, Store(f"file://{tmp_path}/out"), options=("--stall-timeout", "60")
    )  # a lost node is known by then
    process = run.start()
    # Both nodes' encoders are halted as soon as they have work: the kill hits one that holds some, the other one hangs.
    for node in (head, worker):
        assert run.wait_for(process, lambda: halt_encoders(head.pid, worker.pid) and halt_encoders(node.pid))  # noqa: B023
    kill_tree(worker.pid)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert "laid out anew" in output
    check_complete(run, ITEMS, undisturbed)


@pytest.mark.timeout(900)
def test_the_whole_cluster_killed_with_reports_on_s3(undisturbed, s3, corpus, detector):
    """Each run starts a Ray of its own, which dies with it; without --scale-to so few would go without."""
    run = Run(str(corpus), detector, Store(f"{s3}/reports"), options=("--scale-to", "1"))
    assert run.killed(Kill(1, inside=True)), "the run ended before that"
    check_whole(run, ITEMS)
    run.quietly()
    check_complete(run, ITEMS, undisturbed)


def test_a_second_run_is_refused_while_one_writes(warm_cluster, corpus, detector, tmp_path):
    run = Run(str(corpus), detector, Store(f"file://{tmp_path}/out"))
    first = run.start()
    assert run.wait_for(first, lambda: bool(run.store.list("_lock")))
    os.killpg(first.pid, signal.SIGSTOP)  # else it may have come to its end before the second is up
    second = run.start()
    output, _ = second.communicate(timeout=200)
    assert second.returncode == 2
    assert "is being written by run" in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) == 1
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
