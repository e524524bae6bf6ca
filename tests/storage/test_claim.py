"""One writer a folder: a live run is respected, a dead one is not waited for, a lost claim stops its run."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from clipfake.errors import ClaimLostError, ClipfakeError, UsageError
from clipfake.storage import claim as claims
from clipfake.storage.claim import Claim, claimed
from clipfake.storage.owner import Owner
from clipfake.storage.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(f"file://{tmp_path}")


def test_a_second_run_is_refused_with_the_first_ones_name(store):
    with claimed(store, "first"):
        with pytest.raises(UsageError, match=rf"run first \(pid {os.getpid()} on .*since .*delete .*_lock/first.json"):
            Claim(store, "second").take()
        assert [f.name for f in store.list("_lock")] == ["first.json"]
    with claimed(store, "second"):
        pass
    assert store.list("_lock") == []


def test_a_run_that_slept_while_it_asked_asks_again(store, monkeypatch):
    """Found by the chaos schedules: another run had taken the claim of the sleeper for dead, and was gone again."""
    real, first = Claim._write, []

    def write(claim):
        real(claim)
        if not first:
            first.append(claim)
            store.delete(claim._name)

    monkeypatch.setattr(Claim, "_write", write)
    with claimed(store, "slept"):
        assert [f.name for f in store.list("_lock")] == ["slept.json"]


def test_what_a_run_meets_that_lost_its_claim_is_told_as_that(store):
    """Found by the chaos schedules: it slept between the list of the plans and their files, which were done since."""
    with pytest.raises(ClaimLostError, match="another run took over"), claimed(store, "slept"):
        store.delete("_lock/slept.json")
        store.read_bytes("_plan/x/000001.items")
    with pytest.raises(FileNotFoundError), claimed(store, "awake"):
        store.read_bytes("_plan/x/000001.items")


def test_a_run_that_was_killed_on_this_machine_needs_no_person_and_no_wait(store):
    code = (
        f"from clipfake.storage.store import Store\nfrom clipfake.storage.claim import Claim\n"
        f"Claim(Store({store.uri!r}), 'dead').take(); print('claimed', flush=True)\nimport time; time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "claimed\n"
    with pytest.raises(UsageError, match="run dead"):
        Claim(store, "early").take()
    child.send_signal(signal.SIGKILL)
    child.wait()
    with claimed(store, "next"):
        assert [f.name for f in store.list("_lock")] == ["next.json"]


def foreign_claim(store: Store, run_id: str, age_s: float) -> None:
    owner = Owner(run_id, "elsewhere", 1, "2026-11-20T00:00:00+00:00", 0.0, "another machine")
    store.write_bytes(f"_lock/{run_id}.json", json.dumps(owner.__dict__).encode())
    then = time.time() - age_s
    os.utime(store.path(f"_lock/{run_id}.json"), (then, then))


def test_a_stale_claim_of_another_machine_is_taken_over_at_once(store):
    foreign_claim(store, "far", age_s=claims.STALE_S + 5)
    with claimed(store, "mine"):
        assert [f.name for f in store.list("_lock")] == ["mine.json"]


def test_a_run_that_starts_again_on_another_machine_waits_until_the_dead_ones_claim_is_stale(store, monkeypatch):
    """A pod that is started anew: it must not spend its tries on a claim that nobody refreshes."""
    monkeypatch.setattr(claims, "LOOK_S", 0.05)
    foreign_claim(store, "far", age_s=claims.STALE_S - 0.5)
    began = time.monotonic()
    with claimed(store, "mine"):
        assert 0.3 < time.monotonic() - began < 60
        assert [f.name for f in store.list("_lock")] == ["mine.json"]


def test_a_claim_of_another_machine_that_is_refreshed_is_respected(store, monkeypatch):
    monkeypatch.setattr(claims, "LOOK_S", 0.3)
    foreign_claim(store, "far", age_s=40)
    threading.Timer(0.1, foreign_claim, (store, "far", 0)).start()
    with pytest.raises(UsageError, match="on elsewhere"):
        Claim(store, "mine").take()
    assert [f.name for f in store.list("_lock")] == ["far.json"]


def test_a_step_of_the_clock_makes_no_live_run_dead(store):
    """Neither a claim that looks old nor a start of the process that looks other: it is awake."""
    with claimed(store, "first"):
        owner = json.loads(store.read_bytes("_lock/first.json"))
        store.write_bytes("_lock/first.json", json.dumps(owner | {"started": owner["started"] - 3600}).encode())
        then = time.time() - 3600
        os.utime(store.path("_lock/first.json"), (then, then))
        with pytest.raises(UsageError, match="run first"):
            Claim(store, "second").take()


def test_a_run_that_is_stopped_for_longer_than_a_claim_lasts_is_taken_over_from(store):
    code = (
        f"from clipfake.storage.store import Store\nfrom clipfake.storage.claim import Claim\n"
        f"Claim(Store({store.uri!r}), 'slept').take(); print('claimed', flush=True)\nimport time; time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "claimed\n"
    child.send_signal(signal.SIGSTOP)
    then = time.time() - claims.STALE_S - 5
    os.utime(store.path("_lock/slept.json"), (then, then))
    with claimed(store, "next"):
        assert [f.name for f in store.list("_lock")] == ["next.json"]
    child.kill()
    child.wait()


def test_of_a_run_and_the_one_it_was_taken_from_only_the_successor_goes_on(store):
    """The write of a refresh that comes late, after the claim was removed as stale: what `_refresh` may do."""
    slept = Claim(store, "slept")
    slept.take()
    slept._stop.set()
    then = time.time() - claims.STALE_S - 5
    os.utime(store.path("_lock/slept.json"), (then, then))
    as_elsewhere(store, "slept")
    os.utime(store.path("_lock/slept.json"), (then, then))
    with claimed(store, "next") as successor:
        slept._write()
        with pytest.raises(ClipfakeError, match="lost its claim"):
            slept.check()
        successor.check()
        assert [f.name for f in store.list("_lock")] == ["next.json"]


def as_elsewhere(store: Store, run_id: str) -> None:
    owner = json.loads(store.read_bytes(f"_lock/{run_id}.json"))
    store.write_bytes(f"_lock/{run_id}.json", json.dumps(owner | {"machine": "another machine"}).encode())


def test_a_run_that_only_asks_takes_nothing_from_the_one_that_holds(store):
    with claimed(store, "holds") as claim:
        Claim(store, "asks")._write()
        claim.check()


def test_a_refresh_that_took_longer_than_a_claim_lasts_is_taken_back(store, monkeypatch):
    """Another run may have come and gone between the look and the write."""
    claim = Claim(store, "slow")
    claim.take()
    claim._stop.set()
    now, hours = claims._elapsed(), iter(range(10))
    monkeypatch.setattr(claims, "_elapsed", lambda: now + 3600.0 * next(hours))
    assert not claim._refresh_once()
    assert store.list("_lock") == []
    with pytest.raises(ClipfakeError, match="lost its claim"):
        claim.check()


def test_a_run_that_lost_its_claim_does_not_commit(store):
    claim = Claim(store, "slept")
    claim.take()
    claim.check()
    store.delete("_lock/slept.json")
    with pytest.raises(ClipfakeError, match="lost its claim"):
        claim.check()


def test_a_claim_is_refreshed_but_never_taken_back(store, monkeypatch):
    monkeypatch.setattr(claims, "REFRESH_S", 0.05)
    with claimed(store, "run"):
        first = store.list("_lock")[0].mtime
        deadline = time.monotonic() + 10
        while store.list("_lock")[0].mtime == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert store.list("_lock")[0].mtime > first
        store.delete("_lock/run.json")
        time.sleep(0.3)
        assert store.list("_lock") == []


def _try(uri: str, run_id: str, barrier, results) -> None:
    barrier.wait()
    try:
        Claim(Store(uri), run_id).take()
        results.put(run_id)
        time.sleep(3)
    except UsageError:
        results.put(None)


def test_of_runs_that_start_together_at_most_one_gets_it(store):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    runs = [context.Process(target=_try, args=(store.uri, f"run{i}", barrier, results)) for i in range(3)]
    for run in runs:
        run.start()
    got = [results.get(timeout=60) for _ in runs]
    for run in runs:
        run.join()
    assert sum(name is not None for name in got) <= 1
