"""A real nginx of one's own: on a free port, in a folder that is thrown away, with the `server` block it is given."""

import os
from collections.abc import Sequence
from pathlib import Path

import httpx

from dev.packages import require, which
from dev.ports import HOST, free_port
from dev.servers.process import Process

PLACES = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where it is installed, and not everybody's PATH leads."""
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
    """Where nginx is. Installs it if it is missing and this may; else raises `MissingPackage` with the remedy."""
    return require(_find, "nginx-light", "nginx is missing")


def _find() -> Path | None:
    found = which("nginx")
    places = (Path(place) / "nginx" for place in PLACES.split(os.pathsep))
    return found or next((place for place in places if place.exists()), None)


class Nginx(Process):
    """Runs for the length of the block. `{port}` in the `server` block stands for its port."""

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
