"""A real nginx for tests: on a free port, in a temporary folder, with the given `server` block."""

import os
from collections.abc import Sequence
from pathlib import Path

import httpx

from dev.packages import require, which
from dev.ports import HOST, free_port
from dev.servers.process import Process

PLACES = "/usr/local/sbin:/usr/sbin:/sbin"
"""Folders in which it may be installed, and which aren't on everybody's PATH."""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
CONFIG = """\
daemon off;
master_process off;
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
{temporary}
{block}
}}
"""


def nginx() -> Path:
    """Return the path of nginx, after installing it if it is missing and this process may. Otherwise raise
    `MissingPackage` with the remedy.
    """
    return require(_find, "nginx-light", "nginx is missing")


def _find() -> Path | None:
    found = which("nginx")
    places = (Path(place) / "nginx" for place in PLACES.split(os.pathsep))
    return found or next((place for place in places if place.exists()), None)


class Nginx(Process):
    """An nginx that runs for the length of the block. `{port}` in its `server` block stands for its port."""

    start_seconds = 10
    stop_seconds = 5

    def __init__(self, block: str) -> None:
        super().__init__("nginx")
        self.port = free_port()
        self._block = block.replace("{port}", str(self.port))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command_line(self) -> Sequence[str | Path]:
        temporary = "\n".join(f"    {name}_temp_path {self.folder}/{name};" for name in TEMPORARY)
        config = self.folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=self.folder, temporary=temporary, block=self._block))
        return [nginx(), "-p", self.folder, "-c", config]

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=5).status_code < 500
        except httpx.TransportError:
            return False
