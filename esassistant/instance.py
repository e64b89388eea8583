"""The names of this process, and of the server that it is a worker of, among those of a deployment."""

import multiprocessing
import os
import socket


def instance_name() -> str:
    """Host name and process id: told apart by people, and stable for as long as the process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def server_name() -> str:
    """The same for all workers of one `serve`: host name and process id of their parent, of a single one its own."""
    parent = multiprocessing.parent_process()
    return f"{socket.gethostname()}:{os.getpid() if parent is None else parent.pid}"
