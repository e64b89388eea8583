"""`make run`: the service on a real, embedded Elasticsearch with sample indices; on your own cluster when
`ELASTICSEARCH_URL` is set.

Everything runs in this one process but the node, which ends when this process does, however it does.
"""

import os
import secrets
import shlex
import signal
import socket
import sys
from pathlib import Path

import environ

from dev.elasticsearch.install import CACHE
from dev.elasticsearch.node import DEFAULT_VERSION, Node, NodeError, PortTaken

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PORT = int(os.environ.get("PORT", "8000"))

ENV_FILE = """# Written by `make run`, for trying things out and not for production.
# docs/settings.md lists every setting.
DEBUG=true
SECRET_KEY={secret_key}
ESASSISTANT_API_TOKENS={token}
"""

WHAT_TO_TRY = """
Try, in another terminal:
  curl http://{host}:{port}/api/health
  curl http://{host}:{port}/api/cache/stats
  curl -X POST -H "Authorization: Bearer {token}" "http://{host}:{port}/api/cache/refresh?wait=true"
  curl http://{host}:{port}/api/mappings/{example}
  curl http://{host}:{port}/api/performance

The API token is {where}.
In a browser: http://{host}:{port}/
Status page:  http://{host}:{port}/admin/status/   (make yourself a user: .venv/bin/python manage.py createsuperuser)
Elasticsearch: {elasticsearch}
"""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(ROOT)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
    os.environ.setdefault("ESASSISTANT_DRAIN_SECONDS", "0")
    try:
        _check_port()
        env_file = _env_file()
        own_cluster = os.environ.get("ELASTICSEARCH_URL") or env_file.get("ELASTICSEARCH_URL")
        if own_cluster:
            _serve(samples=False)
        else:
            node = _started_node()
            try:
                os.environ["ELASTICSEARCH_URL"] = node.url
                _serve(samples=True)
            finally:
                node.stop()
    except (NodeError, OSError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEnded.")
    return 0


def _serve(*, samples: bool) -> None:
    import django
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import CommandError, call_command

    try:
        django.setup()
        call_command("migrate", verbosity=0)
        if samples:
            call_command("load_samples")
        in_environment = os.environ.get("ESASSISTANT_API_TOKENS")
        print(
            WHAT_TO_TRY.format(
                host=HOST,
                port=PORT,
                token="$TOKEN"
                if in_environment
                else f"$(sed -n s/^ESASSISTANT_API_TOKENS=//p {shlex.quote(str(ROOT / '.env'))})",
                where="in your environment (ESASSISTANT_API_TOKENS)"
                if in_environment
                else "in .env (ESASSISTANT_API_TOKENS)",
                example="orders" if samples else "<one of your indices>",
                elasticsearch=", ".join(settings.ESASSISTANT.elasticsearch.urls),
            ),
            flush=True,
        )
        call_command("serve", host=HOST, port=PORT)
    except (CommandError, ImproperlyConfigured) as error:
        raise NodeError(str(error)) from error


def _check_port() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError:
            raise PortTaken(
                f"port {PORT} is taken. End what uses it (`ss -ltnp 'sport = :{PORT}'` names it), "
                "or serve elsewhere: PORT=8080 make run"
            ) from None


def _env_file() -> dict[str, str]:
    """The settings in `.env`, which is written first when there is none."""
    path = ROOT / ".env"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(ENV_FILE.format(secret_key=secrets.token_urlsafe(50), token=secrets.token_hex(32)))
        print("Wrote .env with a secret key and an API token of your own.")

    class EnvFile(environ.Env):  # type: ignore[misc]  # (it has no types)
        ENVIRON: dict[str, str] = {}

    EnvFile.read_env(path)
    return EnvFile.ENVIRON


def _started_node() -> Node:
    data = CACHE / "data" / DEFAULT_VERSION
    print("Starting Elasticsearch …", flush=True)
    try:
        node = Node(data, 9200)
        node.start()
    except PortTaken:
        node = Node(data)
        node.start()
        print(f"Port 9200 is taken; the embedded Elasticsearch is at {node.url} instead.")
    return node


if __name__ == "__main__":
    sys.exit(main())
