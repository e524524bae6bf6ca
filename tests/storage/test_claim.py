"""One writer a folder: a live run is respected, a dead one is not waited for, a lost claim stops its run."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import claim as claims
from clipfake.storage.claim import Claim, Owner, claimed
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


def test_a_claim_of_another_machine_holds_until_it_is_stale(store):
    foreign_claim(store, "far", age_s=60)
    with pytest.raises(UsageError, match="on elsewhere"):
        Claim(store, "mine").take()
    foreign_claim(store, "far", age_s=claims.STALE_S + 5)
    with claimed(store, "mine"):
        pass


def test_a_pid_that_was_used_again_is_not_mistaken_for_the_run(store):
    here = Owner.here("x")
    assert not here.dead()
    assert Owner(**{**here.__dict__, "started": here.started - 100}).dead()


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
