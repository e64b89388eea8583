"""The name of this process among those of a deployment."""

import os
import socket


def instance_name() -> str:
    """Host name and process id: told apart by people, and stable for as long as the process lives."""
    return f"{socket.gethostname()}:{os.getpid()}"
