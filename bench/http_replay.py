"""bench/replay.py for a whole server, which also asks how the cluster is: `python -m bench.http_replay`."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from bench.replay import _compressed, _connected, _Recording

HOST = "127.0.0.1"
STOP_SECONDS = 10


@contextmanager
def replayed_for_server() -> Iterator[str]:
    """The URL of a server that runs for the length of a block."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.http_replay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


class _Recorded(_Recording):
    def answer(self, target: str) -> bytes:
        if urlsplit(target).path == "/_cluster/health":
            return _compressed({"status": "green", "number_of_nodes": 1, "unassigned_shards": 0})
        return super().answer(target)


async def _main() -> None:
    server = await asyncio.start_server(_connected(_Recorded()), HOST, 0)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_main())
