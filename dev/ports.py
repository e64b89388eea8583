"""Find ports for servers that development and tests start on this machine."""

import random
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port on which a server can listen now. Raises `OSError` if none is found.

    It isn't in the ephemeral range. There, a client that keeps reconnecting to a stopped server can get the server's
    own port as its local one. Then it is connected to itself, and keeps the server from starting again.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        try:
            socket.create_server((HOST, port)).close()
        except OSError:
            continue
        return port
    raise OSError(f"no free port on {HOST} from 20000 to 31999")
