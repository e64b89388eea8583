"""`manage.py serve`: the production server."""

import errno
import os
import socket
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any, cast

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from esassistant.addresses import is_embedded
from esassistant.database.connecting import place_of
from esassistant.database.failures import database_failure
from esassistant.elasticsearch.client import check_there_is_a_node
from esassistant.http.uvicorn_protocol import BoundedProtocol
from esassistant.program import PROGRAM

LISTENERS = 8
"""How many descriptors of the listening socket each process has. libuv accepts one or two connections for each of them
and turn of the loop: under overload, when a turn takes half a second, the new connections of probes would wait for
seconds behind each other.
"""
GRACE_SECONDS = 10
"""How long open requests may go on after draining."""
WORKER_HEALTHCHECK_SECONDS = 30
DUE_MIGRATIONS = os.EX_CONFIG
"""The exit code that says that an operator has to run the migrations first."""

EXAMPLES = """examples:
  %(prog)s
  %(prog)s --host 0.0.0.0 --port 8080 --workers 4
  %(prog)s --forwarded-allow-ips 10.0.0.7     behind a proxy at that address
"""


class Command(BaseCommand):
    help = "Serve over HTTP: uvicorn with the settings that the registry, draining and several workers need."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        kwargs.update(epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parser.add_argument("--workers", type=int, default=1, help="number of processes (default: %(default)s)")
        parser.add_argument(
            "--forwarded-allow-ips",
            metavar="ADDRESSES",
            help="comma-separated addresses of proxies whose X-Forwarded-* headers are believed (default: none)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        host, port, workers = options["host"], options["port"], options["workers"]
        if workers < 1:
            raise CommandError("--workers must be at least 1.")
        if not 0 <= port <= 65535:
            raise CommandError("--port must be from 0 to 65535; 0 takes a free one.")
        if is_embedded():
            raise CommandError(
                "This project has an ASGI application of its own, in which esassistant is: serve that, for instance by "
                f"`uvicorn {settings.ROOT_URLCONF.partition('.')[0]}.asgi:application`."
            )
        check_there_is_a_node(settings.ESASSISTANT.elasticsearch)
        self._prepare_database()
        listener = _listen(host, port)
        listeners = [listener, *(listener.dup() for _ in range(LISTENERS - 1))]
        config = uvicorn.Config(
            "esassistant.asgi:application",
            host=host,
            port=listener.getsockname()[1],
            workers=workers,
            lifespan="on",
            http=cast("Any", BoundedProtocol),  # uvicorn's type allows only protocols that are no `BufferedProtocol`
            ws="none",
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_worker_healthcheck=WORKER_HEALTHCHECK_SECONDS,
            access_log=False,
            server_header=False,
            log_config=None,
            reset_contextvars=True,
            proxy_headers=options["forwarded_allow_ips"] is not None,
            forwarded_allow_ips=options["forwarded_allow_ips"],
        )
        address = f"[{host}]" if ":" in host else host
        self.stdout.write(
            f"Serving on http://{address}:{config.port} with {workers} worker{'s' * (workers > 1)}. Ctrl-C ends it."
        )
        self.stdout.flush()
        # With DEBUG the key may be a random one: all workers must sign with the same key.
        os.environ.setdefault("SECRET_KEY", settings.SECRET_KEY)
        try:
            if workers == 1:
                server = uvicorn.Server(config)
                server.run(sockets=listeners)
                failed = not server.started
            else:
                supervisor = Multiprocess(config, sockets=listeners)
                supervisor.run()
                failed = any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes)
        except KeyboardInterrupt:
            failed = False
        finally:
            for each in listeners:
                each.close()
        if failed:
            sys.exit(STARTUP_FAILURE)

    def _prepare_database(self) -> None:
        """Check the migrations of the database.

        1. The database can't be read: go on without it.
        2. SQLite with migrations that are due: migrate, as the file belongs to this service alone.
        3. Any other database with migrations that are due: raise `CommandError`, as others may use it.
        """
        place = place_of(connection.settings_dict)
        try:
            executor = MigrationExecutor(connection)
            due = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if due and connection.vendor == "sqlite":
                call_command("migrate", interactive=False, verbosity=0)
                self.stderr.write(f"The SQLite database was migrated ({len(due)} migrations).")
        except DatabaseError as error:
            self.stderr.write(f"The database{place} {database_failure(error).why} Serving without it.")
            return
        finally:
            connection.close()
        if due and connection.vendor != "sqlite":
            raise CommandError(
                f"{len(due)} migrations of the database{place} are due. Run `{PROGRAM} migrate`, then start again.",
                returncode=DUE_MIGRATIONS,
            )


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket. It is bound before anything else starts, so that a taken port is reported at once and
    clearly. Raise `CommandError` if it can't be bound.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except socket.gaierror:
        raise CommandError(f"{host!r} is not an address of this machine.") from None
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} is taken. End what uses it (`ss -ltnp 'sport = :{port}'` names it) or give another "
                "--port."
            ) from None
        raise CommandError(f"Can't listen on {host}:{port}: {error.strerror}.") from None
    listener.set_inheritable(True)
    return listener
