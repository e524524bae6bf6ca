"""A process is dead, stopped or alive on its own machine only; who cannot be read is nobody."""

import json
import os
from dataclasses import asdict, replace

import pytest

from clipfake.storage.owner import Owner, read_owner
from clipfake.storage.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(f"file://{tmp_path}")


def test_a_pid_that_was_used_again_is_not_mistaken_for_the_run():
    here = Owner.here("x")
    assert not here.dead()
    assert here.ticks is not None
    assert Owner(**{**here.__dict__, "ticks": here.ticks - 100}).dead()
    old = Owner(**{**here.__dict__, "ticks": None})  # of version 0.1.0
    assert not old.dead()
    assert Owner(**{**old.__dict__, "started": here.started - 100}).dead()


def test_of_another_machine_nobody_sees_the_end():
    elsewhere = replace(Owner.here("x"), machine="another", pid=1 << 30)
    assert (elsewhere.is_here(), elsewhere.dead(), elsewhere.stopped()) == (False, False, False)
    assert replace(Owner.here("x"), pid=1 << 30).dead()


def test_an_owner_is_read_as_it_was_written(store):
    here = Owner.here("x")
    store.write_bytes("x.json", json.dumps(asdict(here)).encode())
    assert read_owner(store, "x.json") == here
    assert here.named().startswith(f"run x (pid {os.getpid()} on ")


@pytest.mark.parametrize("data", [b"", b"{", b'{"run_id": "x"}', b"[]"])
def test_what_cannot_be_read_is_nobody(store, data):
    store.write_bytes("x.json", data)
    assert read_owner(store, "x.json") is None
    assert read_owner(store, "not there") is None
