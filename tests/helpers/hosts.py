"""Hosts on one machine: network namespaces with addresses of their own, on a bridge that is in a namespace too.

Nothing of it is seen outside: no link, no address, no route of this machine changes.
"""

import contextlib
import ctypes
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

NET = "10.77.0"
NAME = re.compile(r"cf(\d+)-\w+")  # the process that made it, and what it is
CLONE_NEWNET = 0x40000000
BIN = Path(sys.executable).parent


class NoNamespacesError(Exception):
    """This machine gives this user no network namespaces."""


@dataclass
class Host:
    """A host with one address. `folder` is where what runs on it keeps temporary files."""

    namespace: str
    address: str
    folder: Path
    hub: str
    env: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: object, **options: Any) -> subprocess.Popen[bytes]:
        """A process on this host, in a session of its own: where a part of a node ends, Ray kills the whole group."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(
            self._on_it(command), **(quiet | options), env=dict(self.env), start_new_session=True
        )
        self.started.append(process)
        return process

    def run(self, *command: object, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
        """Runs a command on this host to its end; both of its streams are in `stdout`."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(
            self._on_it(command), text=True, timeout=timeout_s, env=dict(self.env), start_new_session=True, **streams
        )

    def get(self, url: str, timeout_s: float = 10) -> Any:
        """The JSON at a URL, as seen from this host; None where nobody answers."""
        found: list[Any] = []

        def read() -> None:
            _enter(self.namespace)
            with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=timeout_s) as answer:
                found.append(json.load(answer))

        reader = threading.Thread(target=read)
        reader.start()
        reader.join()
        return found[0] if found else None

    def kill(self) -> None:
        """SIGKILL to all that runs on it, as when it loses power."""
        _kill_all(self.namespace)
        for process in self.started:
            process.wait(timeout=20)
        self.started.clear()

    def cut_off(self) -> None:
        """Takes its cable out: it goes on, but nothing comes in or goes out, and nobody is told."""
        _ip("-n", self.hub, "link", "set", _port(self.namespace), "down")

    def join(self) -> None:
        """Puts its cable in again."""
        _ip("-n", self.hub, "link", "set", _port(self.namespace), "up")

    def _on_it(self, command: tuple[object, ...]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]


@dataclass
class Hub:
    """The bridge between the hosts, with an address of its own."""

    namespace: str
    address: str

    def serve(self, app: Callable[..., Any]) -> str:
        """Serves a WSGI application from this process at the hub's address; returns its URL."""
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        servers: list[Any] = []
        ready = threading.Event()

        def listen() -> None:  # a thread is in one namespace, and a socket in that of the thread that made it
            _enter(self.namespace)
            servers.append(make_server(self.address, 0, app, threaded=True))
            ready.set()
            servers[0].serve_forever()

        threading.Thread(target=listen, name="hub", daemon=True).start()
        assert ready.wait(20)
        return f"http://{self.address}:{servers[0].server_port}"


@contextlib.contextmanager
def hosts_on_a_hub(names: tuple[str, ...], env: Mapping[str, str]) -> Iterator[tuple[Hub, dict[str, Host]]]:
    """A hub and these hosts; all of it, with what runs there, ends with the block, whatever happens.

    Raises NoNamespacesError where they are not allowed.
    """
    sweep()
    hub = Hub(f"cf{os.getpid()}-hub", f"{NET}.254")
    base = Path(f"/tmp/cf{os.getpid()}")  # short, for the names of sockets
    path = f"{BIN}{os.pathsep}{env['PATH']}"  # `python` is the one with clipfake
    try:
        try:
            _ip("netns", "add", hub.namespace)
            _ip("-n", hub.namespace, "link", "add", "bridge", "type", "bridge")
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoNamespacesError(str(getattr(error, "stderr", "") or error).strip()) from error
        _ip("-n", hub.namespace, "address", "add", f"{hub.address}/24", "dev", "bridge")
        for link in ("lo", "bridge"):
            _ip("-n", hub.namespace, "link", "set", link, "up")
        hosts = {}
        for number, name in enumerate(names, 1):
            host = Host(f"cf{os.getpid()}-{name}", f"{NET}.{number}", base / name, hub.namespace, {**env, "PATH": path})
            host.folder.mkdir(parents=True)
            _join(host, hub)
            hosts[name] = host
        yield hub, hosts
    finally:
        _remove(os.getpid())


def sweep() -> None:
    """Ends what killed runs of this have left behind."""
    left = {int(match[1]) for match in map(NAME.match, _namespaces()) if match}
    for pid in left:
        if not psutil.pid_exists(pid):
            _remove(pid)


def _join(host: Host, hub: Hub) -> None:
    port = _port(host.namespace)
    _ip("netns", "add", host.namespace)
    _ip("link", "add", port, "netns", hub.namespace, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
    _ip("-n", hub.namespace, "link", "set", port, "master", "bridge", "up")
    _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", host.namespace, "link", "set", link, "up")


def _remove(pid: int) -> None:
    for name in _namespaces():
        if name.startswith(f"cf{pid}-"):
            _kill_all(name)
            _ip("netns", "delete", name)
    shutil.rmtree(f"/tmp/cf{pid}", ignore_errors=True)


def _kill_all(namespace: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (pids := _ip("netns", "pids", namespace).split()):
        for pid in map(int, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)


def _namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _port(namespace: str) -> str:
    """The hub's end of a host's cable."""
    return f"to-{namespace.partition('-')[2]}"


def _enter(namespace: str) -> None:
    """Puts this thread into a network namespace."""
    with open(f"/run/netns/{namespace}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=20).stdout
