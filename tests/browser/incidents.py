"""Five incidents by hand, and what an operator is told of each: `python -m tests.browser.incidents [FOLDER]`.

A deployment as in production: two workers, Redis, PostgreSQL, a real Elasticsearch node behind a proxy, a real
Prometheus with the rules of deploy/. While users search and read mappings each incident is made, lasts until everything
has told it, and ends; the slow cluster comes last, as by then what is usual is known. Pictures of the status page go to
docs/images (FOLDER), the seconds and the words to standard output. Exits 1 if something was told too late, otherwise
than the rest, or not at all. About twenty minutes.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

import httpx
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.postgresql import PostgresqlServer, programs
from dev.servers.process import wait_until
from dev.servers.prometheus import PrometheusServer
from dev.servers.redis import RedisServer
from dev.servers.service import ROOT, TOKEN, Server, environment
from tests.browser.screenshots import FOLDER, Photographer, make_staff
from tests.support.browser import PASSWORD, open_window
from tests.support.calls import make_index

BEARER = {"Authorization": f"Bearer {TOKEN}"}
NEW_CONNECTION = {"Connection": "close"}
"""Any of the workers may accept it."""
WORKERS = 2
START_SECONDS = 150
"""With a node, a browser and Prometheus beside it, where others use the processors too."""
USUAL_WITHIN_SECONDS = 900.0
"""What is usual is known after ten minutes that were not all trouble."""
SEARCHES_PER_SECOND = 3.0
REPORT_SEARCH = "/reports/_search"
REPORT_SECONDS = 0.4
"""How long a search of the reports takes, always."""
POOL_SIZE = 4
TOLD_WITHIN_SECONDS = 20.0
SCRAPE_SECONDS = 15.0
ALERT_WITHIN_SECONDS = SCRAPE_SECONDS + 60.0
QUIET_WITHIN_SECONDS = 60.0
OTHER_ALERTS = {"EsassistantEventLoopLate", "EsassistantPoolExhausted", "EsassistantServerErrors"}
"""The first is about this machine, on which all runs; the others count for two minutes, and end so much later."""
SAME_MOMENT_SECONDS = 10.0
"""A call takes so long at most, and one that began earlier may end later: the first lines know less than the last."""
SETTINGS: dict[str, Any] = {
    "ESASSISTANT_DETAILS": "authorized",
    "MAPPING_CACHE_WATCH": "true",
    "ELASTICSEARCH_POOLS": f"reports=reports:{POOL_SIZE};default=*:50",
    "ELASTICSEARCH_POOL_OVERFLOW": 0,
}


Seconds = dict[str, float | None]
"""After how many seconds each source said something; None: it did not."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What is done to the deployment, what must be said of it, and which alert tells it.

    Attributes:
        make: a block for whose length it lasts.
        says: a pattern that every sentence must match.
        searches_per_second: of the index `orders`, while it lasts. `reports_per_second`: of `reports`.
        needs_usual: it is made when the deployment knows what searches usually take.
    """

    name: str
    make: Callable[["Deployment"], Any]
    says: str
    alert: str
    searches_per_second: float = SEARCHES_PER_SECOND
    reports_per_second: float = 0.0
    needs_usual: bool = False


@dataclass(slots=True)
class Samples:
    """What one source said, and when, of the monotonic clock."""

    found: list[tuple[float, str]] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.found.append((time.monotonic(), text))

    def holds_since(self, holds: Callable[[str], bool], since: float) -> float | None:
        """The seconds from `since` until the sample from which all up to now hold; None: the last one doesn't."""
        first: float | None = None
        for at, text in self.found:
            if at >= since:
                first = (at if first is None else first) if holds(text) else None
        return None if first is None else first - since


class Deployment:
    """The processes, the load on them, and what they say; runs for the length of the block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.data = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="incidents-")))
        self.searches_per_second = SEARCHES_PER_SECOND
        self.reports_per_second = 1.0
        self.sources = {name: Samples() for name in ("page", "API", "command", "alerts")}
        self._ends = threading.Event()

    def __enter__(self) -> "Deployment":
        enter = self._stack.enter_context
        self.node = enter(Node(self.data / "node"))
        self.proxy = enter(FaultProxy(self.node.url))
        self.redis = enter(RedisServer())
        found = programs()
        assert found is not None, "PostgreSQL is not installed"
        postgresql = enter(PostgresqlServer(found))
        self.settings = {**SETTINGS, "DATABASE_URL": postgresql.url, "REDIS_URL": self.redis.url}
        with Elasticsearch(self.node.url) as cluster:
            for index in ("orders", "reports"):
                make_index(cluster, index)
        make_staff(self.proxy.url, self.settings)
        self.server = Server(self.proxy.url, "--workers", str(WORKERS), **self.settings)
        self.server.start_seconds = START_SECONDS
        enter(self.server)
        self._cookies = self._logged_in()
        self.prometheus = enter(PrometheusServer(self._prometheus_config()))
        for watch in (self._search, self._search_reports, self._read_mappings, *self._watches()):
            thread = threading.Thread(target=watch, name=watch.__name__, daemon=True)
            thread.start()
            self._stack.callback(thread.join, 30)
        self._stack.callback(self._ends.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _prometheus_config(self) -> Path:
        deploy = ROOT / "deploy" / "prometheus"
        target = self.server.url.removeprefix("http://")
        (self.data / "prometheus.yml").write_text(
            (deploy / "prometheus.yml").read_text().replace("127.0.0.1:8000", target)
        )
        (self.data / "alerts.yml").write_text((deploy / "alerts.yml").read_text())
        (self.data / "esassistant.token").write_text(f"{TOKEN}\n")
        return self.data / "prometheus.yml"

    # The load: searches are sent at their rate, whether or not earlier ones are answered.

    def _every(self, seconds: Callable[[], float], work: Callable[[], object]) -> None:
        while not self._ends.wait(seconds()):
            work()

    def _send(self, http: httpx.Client, index: str) -> None:
        def send() -> None:
            try:
                http.post(f"/api/indices/{index}/search", content=b'{"size":0}')
            except httpx.TransportError as error:
                sys.stderr.write(f"a search was not answered: {error!r}\n")

        threading.Thread(target=send, daemon=True).start()

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
        return httpx.Client(base_url=self.server.url, headers=BEARER, timeout=60, limits=limits)

    def _search(self) -> None:
        with self._client() as http:
            self._every(lambda: 1 / self.searches_per_second, lambda: self._send(http, "orders"))

    def _search_reports(self) -> None:
        with self._client() as http:
            self._every(lambda: 1 / max(0.01, self.reports_per_second), lambda: self._send(http, "reports"))

    def _read_mappings(self) -> None:
        with self._client() as http:
            self._every(lambda: 0.5, lambda: http.get("/api/mappings/orders"))

    # What is said, by all that can be asked

    def _watches(self) -> Iterator[Callable[[], None]]:
        for name, every, ask in (
            ("page", 1.0, self._ask_page),
            ("API", 0.5, self._ask_api),
            ("command", 4.0, self._ask_command),
            ("alerts", 1.0, self._ask_prometheus),
        ):
            samples = self.sources[name]

            def watch(every: float = every, ask: Callable[[], str] = ask, samples: Samples = samples) -> None:
                def sample() -> None:
                    try:
                        samples.add(ask())
                    except httpx.TransportError as error:
                        samples.add(f"no answer: {error!r}")

                self._every(lambda: every, sample)

            watch.__name__ = name
            yield watch

    def _ask_page(self) -> str:
        answer = httpx.get(
            f"{self.server.url}/admin/status/", cookies=self._cookies, headers=NEW_CONNECTION, timeout=30
        )
        found = re.search(r'<p class="sentence">(.*?)</p>', answer.text, re.DOTALL)
        return f"status {answer.status_code}" if found is None else without_lateness(plain(found[1]))

    def _logged_in(self) -> dict[str, str]:
        """The cookies of a session of staff."""
        with httpx.Client(base_url=self.server.url, timeout=60) as http:
            http.get("/admin/login/")
            form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": http.cookies["csrftoken"]}
            assert http.post("/admin/login/?next=/", data=form).status_code == 302
            return dict(http.cookies)

    def _ask_api(self) -> str:
        found = httpx.get(f"{self.server.url}/api/health", headers={**BEARER, **NEW_CONNECTION}, timeout=30).json()
        return without_lateness(f"{found['status']}: {found['verdict']}")

    def _ask_command(self) -> str:
        words = [sys.executable, "manage.py", "health", "--url", self.server.url]
        environ = environment(self.proxy.url, **self.settings)
        ended = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
        return without_lateness(f"{ended.stdout.strip()} [exit {ended.returncode}]")

    def _ask_prometheus(self) -> str:
        alerts = self.prometheus.get("alerts")["alerts"]
        firing = {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
        return " ".join(sorted(firing - OTHER_ALERTS))

    def knows_usual(self) -> bool:
        """Whether all processes know what searches of `orders` usually take, as far as a few answers tell."""
        return all(
            httpx.get(f"{self.server.url}/api/performance", headers={**BEARER, **NEW_CONNECTION}, timeout=30)
            .json()["verdict_basis"]["usual_seconds"]
            .get("pool default search")
            for _ in range(2 * WORKERS)
        )

    def lines(self) -> list[tuple[str, str]]:
        """Each line of the log with its process, of those that the verdict wrote."""
        found = re.findall(r"\[(\d+)\] healthapp\.judge: (.*)", self.server.output())
        return [(process, text) for process, text in found]


def plain(html: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub("<[^>]+>", "", html)).split()).replace(" · ", ": ", 1)


LATE = r"this process is late since [^:]*:\d\d:\d\d UTC: the event loop is [^(]*\(p99\)"


def without_lateness(text: str) -> str:
    """Without what is said of a process that wakes late: here everything runs on one machine, whose processors are
    busy.
    """
    text = re.sub(rf" Also: {LATE}\.|; {LATE}", "", text)
    return re.sub(rf"(?i)^degraded: {LATE}\..*", "healthy, if late", text)


# The incidents


@contextmanager
def slow_cluster(deployment: Deployment) -> Iterator[None]:
    """Three seconds more, for everything."""
    with deployment.proxy.fault(delay_seconds=3.0):
        yield


@contextmanager
def full_pool(_: Deployment) -> Iterator[None]:
    """Nothing but more callers: a third of their searches finds no connection."""
    yield


@contextmanager
def frozen_node(deployment: Deployment) -> Iterator[None]:
    deployment.node.suspend()
    try:
        yield
    finally:
        deployment.node.resume()


@contextmanager
def dead_node(deployment: Deployment) -> Iterator[None]:
    """Killed, and nothing listens at its port, until it is started again and answers."""
    deployment.node.kill()
    deployment.proxy.refuse()
    try:
        yield
    finally:
        deployment.node.start()
        deployment.proxy.accept()


@contextmanager
def redis_gone(deployment: Deployment) -> Iterator[None]:
    deployment.redis.kill()
    try:
        yield
    finally:
        deployment.redis.start()


CLOCK = r"\d\d:\d\d:\d\d UTC"
SEARCHES_FAIL = rf"searches fail since {CLOCK} \(\d+ of \d+ in the last minute\)"
AWAY = rf"Elasticsearch can't be asked since {CLOCK}"
FAIL = rf"({SEARCHES_FAIL}|{AWAY}; {SEARCHES_FAIL}|{AWAY})"
"""A process that no search has asked yet knows the cause alone, for moments."""
INCIDENTS = (
    Incident(
        "full-pool",
        full_pool,
        rf"(?i)degraded: searches are refused since {CLOCK} \(\d+ of \d+ in the last minute\): all connections of pool "
        r"reports are in use",
        "EsassistantCallsRefused",
        reports_per_second=22.0,
    ),
    Incident(
        "frozen-node",
        frozen_node,
        rf"(?i)unhealthy: {FAIL}: Elasticsearch at \S+ did not answer within",
        "EsassistantCallsFail",
        searches_per_second=1.0,
    ),
    Incident(
        "dead-node",
        dead_node,
        rf"(?i)unhealthy: {FAIL}: Elasticsearch at \S+ could not be reached: the connection was refused",
        "EsassistantCallsFail",
    ),
    Incident(
        "redis-gone",
        redis_gone,
        rf"(?i)degraded: the store can't be used since {CLOCK}: .*Redis",
        "EsassistantStoreAway",
    ),
    Incident(
        "slow-cluster",
        slow_cluster,
        rf"(?i)degraded: searches are slow since {CLOCK}: Elasticsearch answers in 3\.\d+ s, usually [\d.]+ m?s, "
        r"and pings are slow too",
        "EsassistantSlow",
        needs_usual=True,
    ),
)
ENOUGH_SECONDS = 110.0
"""An incident that has not been told by then is not told."""


def is_over(line: str) -> bool:
    """Whether a line of the log tells the end; on a busy machine the process is late for some minutes more."""
    return "healthy again after" in line or "no call failed in the last minute. This process is late" in line


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one incident: after how many seconds each source told it, and its end; None: it did not."""

    incident: Incident
    begin: Seconds
    end: Seconds
    words: dict[str, str]
    was: Sequence[str]
    advised: Sequence[str]


def run(deployment: Deployment, incident: Incident, camera: Photographer) -> Told:
    """Make an incident, wait until everything has told it, take a picture, end it, and wait for quiet."""
    deployment.searches_per_second = incident.searches_per_second
    deployment.reports_per_second = incident.reports_per_second
    sources = deployment.sources
    logged: dict[str, float] = {}
    before = len(deployment.lines())

    def note_log(holds: Callable[[str], bool], since: float) -> None:
        for process, text in deployment.lines()[before:]:
            if holds(text):
                logged.setdefault(process, time.monotonic() - since)

    def begun(since: float) -> Seconds:
        says = re.compile(incident.says)
        note_log(lambda text: says.search(text) is not None, since)
        told = {
            name: samples.holds_since(lambda text: says.search(text) is not None, since)
            for name, samples in sources.items()
        }
        told["alerts"] = sources["alerts"].holds_since(lambda text: incident.alert in text.split(), since)
        return {**told, "log": max(logged.values()) if len(logged) == WORKERS else None}

    def ended(since: float) -> Seconds:
        note_log(is_over, since)
        told = {
            name: samples.holds_since(lambda text: text.lower().startswith("healthy"), since)
            for name, samples in sources.items()
        }
        told["alerts"] = sources["alerts"].holds_since(lambda text: not text, since)
        return {**told, "log": max(logged.values()) if len(logged) == WORKERS else None}

    def watch(tell: Callable[[float], Seconds], since: float) -> Seconds:
        while None in (told := tell(since)).values() and time.monotonic() - since < ENOUGH_SECONDS:
            time.sleep(0.3)
        return told

    with incident.make(deployment):
        began_at = time.monotonic()
        watch(begun, began_at)
        camera.picture(f"incident-{incident.name}", "/admin/status/", "since", longest=1100)
        begin = begun(began_at)
        words = {name: samples.found[-1][1] for name, samples in sources.items()}
        for process, text in deployment.lines()[before:]:
            words[f"log [{process}] {len(words)}"] = text
        deployment.searches_per_second, deployment.reports_per_second = SEARCHES_PER_SECOND, 0.0
    ended_at = time.monotonic()
    logged.clear()
    end = watch(ended, ended_at)
    time.sleep(5)  # what comes back is not over
    end = {**ended(ended_at), "log": end["log"]}
    for process, text in deployment.lines()[before:]:
        if is_over(text):
            words[f"log [{process}] {len(words)}"] = text
    report = httpx.get(f"{deployment.server.url}/api/performance", headers=BEARER).json()
    was = [f"{one['metric']}: {one['why']} ({one['figures']}), ended {one['ended_at']}" for one in report["was"]]
    advised = [f"{one['metric']}: {one['setting']}" for one in report["recommendations"]]
    return Told(incident, begin, end, words, was, advised)


def faults_of(told: Told) -> Iterator[str]:
    """What was told too late, or otherwise."""
    for name, seconds in told.begin.items():
        limit = ALERT_WITHIN_SECONDS if name == "alerts" else TOLD_WITHIN_SECONDS
        if seconds is None or seconds > limit:
            yield f"{name} told it after {seconds} s, wanted {limit:g} s"
    for name, seconds in told.end.items():
        limit = QUIET_WITHIN_SECONDS + (SCRAPE_SECONDS if name == "alerts" else 0.0)
        if seconds is None or seconds > limit:
            yield f"{name} was quiet after {seconds} s, wanted {limit:g} s"
    found = [re.search(f"since ({CLOCK})", text) for text in told.words.values()]
    since = sorted(_seconds_of_the_day(one[1]) for one in found if one is not None)
    if since and since[-1] - since[0] > SAME_MOMENT_SECONDS:
        yield f"different moments are told, {since[-1] - since[0]} s apart"


def _seconds_of_the_day(clock: str) -> int:
    hours, minutes, seconds = (int(part) for part in clock.removesuffix(" UTC").split(":"))
    return 3600 * hours + 60 * minutes + seconds


def line_of(told: Told) -> str:
    """A row of a table."""

    def cell(seconds: float | None) -> str:
        return "never" if seconds is None else f"{seconds:.0f}"

    names = ("page", "API", "command", "log", "alerts")
    cells = [told.incident.name, *(f"{cell(told.begin[name])} / {cell(told.end[name])}" for name in names)]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="of the pictures (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=[one.name for one in INCIDENTS], help="these incidents")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all processes are ended
    rows, faults = [], []
    with Deployment() as deployment, deployment.proxy.fault(path=REPORT_SEARCH, delay_seconds=REPORT_SECONDS):
        api = deployment.sources["API"]
        wait_until(lambda: api.found and api.found[-1][1].startswith("healthy"), 120)
        time.sleep(60)
        profile = Path(tempfile.mkdtemp(prefix="incidents-profile-", dir=deployment.data))
        with open_window(deployment.server.url, profile) as browser:
            browser.log_in(create=False)
            camera = Photographer(chosen.folder, browser)
            for incident in INCIDENTS:
                if chosen.only and incident.name not in chosen.only:
                    continue
                wait_until(lambda: not deployment.sources["alerts"].found[-1][1], 300)
                if incident.needs_usual:
                    wait_until(deployment.knows_usual, USUAL_WITHIN_SECONDS, every=5)
                told = run(deployment, incident, camera)
                rows.append(line_of(told))
                found = [f"{incident.name}: {fault}" for fault in faults_of(told)]
                faults += found
                sys.stdout.write(f"{rows[-1]}\n{json.dumps(told.words, indent=1, ensure_ascii=False)}\n")
                sys.stdout.write("".join(f"  advised, over: {one}\n" for one in told.was))
                sys.stdout.write("".join(f"  still advised: {one}\n" for one in told.advised))
                sys.stdout.write("".join(f"  FAULT {one}\n" for one in found))
                sys.stdout.flush()
    sys.stdout.write("\n".join(["| incident | page | API | command | log | alert |", *rows, *faults, ""]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
