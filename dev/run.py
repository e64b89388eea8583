"""`make run`: run the service on a real, embedded Elasticsearch with sample indices; or on your own cluster if
`ELASTICSEARCH_URL` is set.

Everything runs in this one process, except the node. If one of the two ends, the other one ends too, whatever the
reason. A note in the folder tells other commands there where the node is.
"""

import os
import secrets
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import environ

from dev.elasticsearch.install import CACHE
from dev.elasticsearch.node import DEFAULT_VERSION, Node, NodeError, PortTaken
from esassistant.config.model import Config, Details
from esassistant.config.run_note import ELSEWHERE, RunsAlready, hold_note, read_note

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
END_SECONDS = 30.0
"""How long the server may take to end after the node has ended."""

ENV_FILE = """# Written by `make run`, for trying things out and not for production.
# docs/settings.md lists every setting.
DEBUG=true
SECRET_KEY={secret_key}
ESASSISTANT_API_TOKENS={token}
"""

WHAT_TO_TRY = """
Try, in another terminal:
  TOKEN={token}
  curl http://{host}:{port}/api/health
  curl {reader}http://{host}:{port}/api/cache/stats
  curl -X POST {bearer}"http://{host}:{port}/api/cache/refresh?wait=true"
  curl {reader}http://{host}:{port}/api/mappings/{example}
  curl {reader}http://{host}:{port}/api/performance

In a browser: http://{host}:{port}/          (mappings: /browse/, all addresses: /api/docs)
Status page:  http://{host}:{port}/admin/status/   (make yourself a user: .venv/bin/python manage.py createsuperuser)
Elasticsearch: {elasticsearch}
"""
BEARER = '-H "Authorization: Bearer $TOKEN" '


class NodeEnded(Exception):
    """The node ended by itself, and that was reported. Other failures after that are a consequence."""


class NodeGuard:
    """Ends this process in order if the node ends by itself. `has_fired`: whether that has happened."""

    def __init__(self, node: Node) -> None:
        self.has_fired = False
        self._node = node
        self._is_dismissed = False
        threading.Thread(target=self._wait, name="node-guard", daemon=True).start()

    def dismiss(self) -> None:
        """Allow the node to end from now on."""
        self._is_dismissed = True

    def _wait(self) -> None:
        try:
            self._node.wait()
        except NodeError as error:
            if self._is_dismissed:
                return
            self.has_fired = True
            print(f"make run: {error}\nmake run: without its node it ends too.", file=sys.stderr, flush=True)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(END_SECONDS)  # this thread ends with the process
        os._exit(1)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(ROOT)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
    os.environ.setdefault("ESASSISTANT_DRAIN_SECONDS", "0")
    try:
        port = _port(os.environ.get("PORT", "8000"))
        env_file = _env_file()
        if os.environ.get("ELASTICSEARCH_URL"):
            with hold_note(ROOT) as note:
                note(ELSEWHERE)  # without the URL, which may have a password in it
                _check_port(port)
                _serve(port, samples=False)
        elif env_file.get("ELASTICSEARCH_URL"):
            _check_port(port)
            _serve(port, samples=False)
        else:
            with hold_note(ROOT) as note:
                _check_port(port)
                with _started_node() as node:
                    os.environ["ELASTICSEARCH_URL"] = node.url
                    note(node.url)
                    _serve(port, samples=True)
    except RunsAlready:
        known = read_note(ROOT)
        where = f" (its Elasticsearch: {known.url})" if known is not None and known.url else ""
        print(f"make run: it runs in this folder already{where}. End that one first.", file=sys.stderr)
        return 1
    except NodeEnded:
        return 1
    except (NodeError, OSError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEnded.")
    return 0


def _serve(port: int, *, samples: bool) -> None:
    import django
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import CommandError, call_command

    from esassistant.database.sqlite3.files import make_missing

    try:
        django.setup()
        make_missing()
        call_command("migrate", verbosity=0)
        if samples:
            call_command("load_samples")
        print(what_to_try(settings.ESASSISTANT, port, samples=samples), flush=True)
        call_command("serve", host=HOST, port=port, skip_checks=False)
    except (CommandError, ImproperlyConfigured) as error:
        raise NodeError(str(error)) from error


def what_to_try(config: Config, port: int, *, samples: bool) -> str:
    """Return commands to try, which work as they are printed. If strangers may not read, the commands for reading
    include a token.
    """
    env_file = shlex.quote(str(ROOT / ".env"))
    in_environment = bool(os.environ.get("ESASSISTANT_API_TOKENS"))
    return WHAT_TO_TRY.format(
        host=HOST,
        port=port,
        token="'one of those that you have set as ESASSISTANT_API_TOKENS'"
        if in_environment
        else f"$(sed -n s/^ESASSISTANT_API_TOKENS=//p {env_file} | cut -d, -f1)",
        bearer=BEARER,
        reader="" if config.details is Details.ALWAYS else BEARER,
        example="orders" if samples else "<one of your indices>",
        elasticsearch=", ".join(config.elasticsearch.urls),
    )


def _port(raw: str) -> int:
    try:
        port = int(raw)
    except ValueError:
        port = 0
    if not 1 <= port <= 65535:
        raise NodeError(f"PORT={raw} is no port to serve on: use a number from 1 to 65535")
    return port


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise PortTaken(
                f"port {port} is taken. End what uses it (`ss -ltnp 'sport = :{port}'` names it), "
                "or serve elsewhere: PORT=8080 make run"
            ) from None


def _env_file() -> dict[str, str]:
    """Return the settings in `.env`, which is written first if it doesn't exist."""
    path = ROOT / ".env"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(ENV_FILE.format(secret_key=secrets.token_urlsafe(50), token=secrets.token_hex(32)))
        print("Wrote .env with a secret key and an API token of your own.")

    class EnvFile(environ.Env):  # type: ignore[misc]  # (it has no types)
        ENVIRON: dict[str, str] = {}

    EnvFile.read_env(path)
    return EnvFile.ENVIRON


@contextmanager
def _started_node() -> Iterator[Node]:
    """Run the embedded node for the length of the block. Raises `NodeEnded` if the block ends because the node did."""
    data = CACHE / "data" / DEFAULT_VERSION
    print("Starting Elasticsearch …", flush=True)
    node = Node(data, 9200)
    try:
        node.start()
    except PortTaken:
        node = Node(data)
        node.start()
        print(f"Port 9200 is taken; the embedded Elasticsearch is at {node.url} instead.")
    guard = NodeGuard(node)
    try:
        yield node
    finally:
        guard.dismiss()
        node.stop()
        if guard.has_fired:
            raise NodeEnded


if __name__ == "__main__":
    sys.exit(main())
