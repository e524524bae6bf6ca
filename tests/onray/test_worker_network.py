"""Gloo is bound to the interface of the node's address; test_train.py and test_hosts.py train with it."""

import os

import pytest

from clipfake.onray import worker_network


@pytest.mark.parametrize(("already", "bound"), [(None, "lo"), ("eth7", "eth7")])
def test_gloo_takes_the_interface_with_the_nodes_address(monkeypatch, already, bound):
    monkeypatch.setattr(worker_network, "_node_address", lambda: "127.0.0.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", already or "")
    if already is None:
        monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    worker_network._bind_gloo()
    assert os.environ["GLOO_SOCKET_IFNAME"] == bound


def test_an_address_that_no_interface_has_changes_nothing(monkeypatch):
    monkeypatch.setattr(worker_network, "_node_address", lambda: "203.0.113.9")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    worker_network._bind_gloo()
    assert "GLOO_SOCKET_IFNAME" not in os.environ
