"""Hosts in namespaces: they reach one another, not when cut off, and nothing of them is left, whatever happens."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hosts import Host, Hub, NoNamespacesError, hosts_on_a_hub, sweep

NAMESPACES = Path("/run/netns")


@pytest.fixture
def pair() -> Iterator[tuple[Hub, dict[str, Host]]]:
    try:
        with hosts_on_a_hub(("one", "two"), os.environ) as made:
            yield made
    except NoNamespacesError as error:
        pytest.skip(f"needs network namespaces, which this machine does not give: {error}")
    assert not left_of(os.getpid())


def left_of(pid: int) -> list[str]:
    return [entry.name for entry in NAMESPACES.iterdir() if entry.name.startswith(f"cf{pid}-")]


def test_a_host_that_is_cut_off_reaches_nobody_until_it_is_joined(pair):
    hub, hosts = pair
    one = hosts["one"]

    def app(environ, start):
        start("200 OK", [])
        return [b'{"seen": "%s"}' % environ["REMOTE_ADDR"].encode()]

    url = hub.serve(app)
    assert one.get(url) == {"seen": one.address}
    one.cut_off()
    assert one.get(url, timeout_s=1) is None
    assert hosts["two"].get(url) == {"seen": hosts["two"].address}
    one.join()
    assert one.get(url) == {"seen": one.address}


def test_killing_a_host_ends_all_on_it_and_nothing_else(pair):
    _, hosts = pair
    dead, alive = (hosts[name].start("sh", "-c", "sleep 100 & sleep 100") for name in ("one", "two"))
    hosts["one"].kill()
    assert dead.returncode is not None
    assert alive.poll() is None
    assert not subprocess.run(["ip", "netns", "pids", hosts["one"].namespace], capture_output=True).stdout


def test_what_a_killed_run_left_is_swept(pair):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from hosts import hosts_on_a_hub\n"
        "with hosts_on_a_hub(('one',), os.environ) as (hub, hosts):\n"
        "    print(hosts['one'].start('sleep', '100').pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parents[1] / "helpers")], stdout=subprocess.PIPE
    )
    output, _ = killed.communicate(timeout=60)
    assert left_of(killed.pid)
    sweep()
    assert not left_of(killed.pid)
    assert not psutil.pid_exists(int(output)) or psutil.Process(int(output)).status() == psutil.STATUS_ZOMBIE
    assert left_of(os.getpid())  # those of a run that goes on stay
