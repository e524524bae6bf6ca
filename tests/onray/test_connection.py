"""Ray starts beside other work and is stopped with it; a cluster that is not there is said in one line and at once."""

import logging
import os
import subprocess
import sys
import threading
import time

import pytest
from chaos import kill_tree

from clipfake.errors import ClipfakeError
from clipfake.onray import connection
from clipfake.onray.connection import connected, connecting


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have one."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("clipfake.onray.connection._begun", None)


def test_an_address_where_nothing_answers(free_port, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    message = r"^no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:\d+ \(.*refused"
    with pytest.raises(ClipfakeError, match=message), connected():
        pass


@pytest.fixture
def go() -> threading.Event:
    """Until it is set, the Ray of `started` is being started."""
    return threading.Event()


@pytest.fixture
def started(go: threading.Event, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of a Ray that is started in words only."""
    calls: list[str] = []

    def init(**_: object) -> None:
        assert go.wait(60)
        calls.append("init")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.shutdown", lambda: calls.append("shutdown"))
    return calls


def test_ray_starts_while_the_block_does_something_else(started, go):
    with connecting() as session:
        assert started == []
        go.set()
        reconnect = session()
        assert started == ["init"]
        reconnect()
        assert started == ["init", "shutdown", "init"]
    assert started == ["init", "shutdown", "init", "shutdown"]


def test_a_block_inside_joins_the_session_that_is_being_started(started, go):
    with connecting() as session:
        threading.Timer(0.2, go.set).start()
        with connecting() as inner:
            replace = inner()
            assert started == ["init"]
            replace()
        assert started == ["init"]
        session()
    assert started == ["init", "shutdown"]


def test_an_error_beside_the_start_waits_for_it_and_stops_ray(started, go):
    go.set()
    with pytest.raises(KeyError), connecting():
        raise KeyError("of the block")
    assert started == ["init", "shutdown"]


def test_what_the_start_raises_comes_where_the_session_is_wanted(started, monkeypatch: pytest.MonkeyPatch):
    def init(**_: object) -> None:
        raise OSError("no room in /dev/shm")

    monkeypatch.setattr("ray.init", init)
    with connecting() as session, pytest.raises(OSError, match="no room"):
        session()
    assert started == []


@pytest.mark.parametrize("slow", [1, 3])
def test_a_ray_that_comes_up_too_slowly_is_started_again(slow, monkeypatch: pytest.MonkeyPatch):
    """Ray 2.60 raises a bare Exception for it (ray/_private/node.py)."""
    calls: list[str] = []

    def init(**_: object) -> None:
        calls.append("init")
        if len(calls) <= slow:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: calls.append("shutdown"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if slow < 3:
        with connected():
            assert calls == ["init"] * (slow + 1)
        assert calls[-1] == "shutdown"
    else:
        with pytest.raises(ClipfakeError, match="overloaded"), connected():
            pass
        assert calls == ["init"] * 3


TOKEN = "0123456789abcdef0123456789abcdef"
JOIN = """
from clipfake.onray.connection import connected
from clipfake.errors import ClipfakeError
try:
    with connected():
        print("joined")
except ClipfakeError as error:
    print(error)
"""


def join(address: str, **token: str) -> subprocess.Popen[str]:
    """A process that joins the cluster and prints what came of it; a process keeps to one mode of authentication."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command, env = [sys.executable, "-c", JOIN], {**env, "RAY_ADDRESS": address, **token}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token(ray_node, free_port, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Ray alone tries for 20 s, and says then that it could not connect."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HOME", str(tmp_path))  # where a token may lie
    right = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    for name, value in right.items():
        monkeypatch.setenv(name, value)
    head = ray_node("--head", "--num-cpus=0", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")
    deadline = time.monotonic() + 120
    while (said := join(address, **right).communicate(timeout=100)[0]) != "joined\n" and time.monotonic() < deadline:
        time.sleep(1)
    assert said == "joined\n"
    others = {
        f"RAY_ADDRESS={address} asks for a token, and none is sent from here": {"RAY_AUTH_MODE": "disabled"},
        f"RAY_ADDRESS={address} refuses the token that is set here": {**right, "RAY_AUTH_TOKEN": TOKEN[::-1]},
        "no token is found here": {"RAY_AUTH_MODE": "token"},
    }
    refused = {wanted: join(address, **token) for wanted, token in others.items()}
    for wanted, process in refused.items():
        (line,) = process.communicate(timeout=100)[0].splitlines()
        assert wanted in line
        assert "RAY_AUTH_TOKEN_PATH" in line
        assert TOKEN[::-1] not in line
    kill_tree(head.pid)  # asked to end, it takes half a minute


def test_only_rays_own_handlers_are_quiet(monkeypatch):
    """A program's handlers may be on Ray's loggers, too: pytest's are."""
    ours, rays = logging.StreamHandler(), logging.StreamHandler()
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers, ours])
    monkeypatch.setattr(logging.getLogger("ray"), "handlers", [ours, rays])
    connection._quiet_ray_data()
    assert (ours.level, rays.level) == (logging.NOTSET, logging.ERROR)
