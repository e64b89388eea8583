"""The names of a process and of its server."""

import multiprocessing
import os
import socket
from types import SimpleNamespace

import pytest

from esassistant.instance import instance_name, server_name


def test_names_of_a_single_process() -> None:
    """A process that is no worker is a server of its own; both names have the host, and stay as they are."""
    assert instance_name() == server_name() == f"{socket.gethostname()}:{os.getpid()}"


def test_workers_have_a_server_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are told apart by their own process, and belong to the server that started them."""
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=12))
    assert instance_name() == f"{socket.gethostname()}:{os.getpid()}"
    assert server_name() == f"{socket.gethostname()}:12"


def test_a_real_worker() -> None:
    """A process started as uvicorn starts its workers names this one as its server."""
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert workers.apply(server_name) == server_name()
