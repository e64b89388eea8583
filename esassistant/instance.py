"""The names of this process and of its server, which are unique in a deployment."""

import multiprocessing
import os
import socket


def instance_name() -> str:
    """Return host name and process id: readable for people, and the same for as long as the process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def server_name() -> str:
    """Return host name and process id of the parent process, which is the same for all workers of one `serve`. A single
    worker has no parent process; then it is its own process id.
    """
    parent = multiprocessing.parent_process()
    return f"{socket.gethostname()}:{os.getpid() if parent is None else parent.pid}"
