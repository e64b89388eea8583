"""The reliability and security cases: what happens, and what is expected then."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    fault: str
    expected: str


_CASES = (
    (
        "1,000 requests at once for a mapping that isn't in memory, of an index made after the start",
        "Elasticsearch gets one call; nobody gets an error",
    ),
    (
        "The request whose miss started the call is cancelled while others wait for it",
        "All of them are served by that same call",
    ),
    (
        "The call that many wait for fails",
        "One call, and one more per retry; the failure is remembered for at most 1 s; nobody stays stuck",
    ),
    (
        "A mapping that is asked for all the time gets older than its TTL",
        "The stale one is answered while one call reads it anew; no request waits",
    ),
    (
        "The cluster refuses connections, mappings are in memory",
        "All are answered with their age, until TTL and MAPPING_CACHE_MAX_STALE are over; then 503",
    ),
    (
        "The cluster accepts connections and says nothing (packets lost, or the process stopped)",
        "A miss ends within MAPPING_CACHE_FETCH_TIMEOUT, a health check within HEALTH_TIMEOUT",
    ),
    (
        "The cluster is down for a minute",
        "The circuit breaker opens after its minimum of calls; a refusal then needs no I/O",
    ),
    ("500 callers at once find the breaker half-open", "Exactly the permitted probes reach the cluster"),
    ("The probe of a half-open breaker hangs, or its caller leaves", "Half-open ends at the probe's deadline"),
    ("100 callers cancel their calls", "The breaker stays closed, no connection stays in use"),
    (
        "The cluster recovers under load",
        "The breaker is closed after its open time and one probe; no burst above 1.5 times the normal load",
    ),
    (
        "The cluster answers 429 with Retry-After, for a minute",
        "The pause is honoured; attempts are at most 1.1 times the requests and 10 per 10 s: the retry budget",
    ),
    (
        "30 % of the cluster's answers are 503 during full passes",
        "At least 99.9 % of the mappings are fresh; asked once each, about 30 % would be lost",
    ),
    (
        "The cluster can't give one mapping of 500",
        "499 are fresh; that one stays, is marked stale and named; the command exits with 3",
    ),
    (
        "The cluster gets 500 ms slower, and quick again",
        "Batches are at most half as large within 3 batches, and as large as before within 10",
    ),
    (
        "All connections of a pool are in use for 10 s",
        "Bounded waiting or an overflow connection, then 503; nothing leaks, health stays true",
    ),
    ("The pool of one kind of index is saturated", "Requests of other pools don't queue: 0 wait there"),
    ("Redis says nothing (packets lost, or the process stopped)", "At most 400 ms once, then nobody waits for it"),
    (
        "Redis is killed and comes back empty, amid its news",
        "Servers subscribe anew; a change is answered by all within the TTL",
    ),
    ("Two refresh commands at once", "One runs, the other says so and exits with 75"),
    (
        "The process that refreshes or watches is killed with `kill -9`, or stopped",
        "Another does so once the lease has ended; what the former one writes late is refused",
    ),
    (
        "Four servers instead of one, with watch and schedule",
        "At most 1.1 times the calls of one: for the version of the metadata, lists and mappings",
    ),
    (
        "SIGTERM under load, with slow requests under way and idle connections open",
        "/readyz is 503 while it drains, all requests end, it exits within drain, grace and 1 s",
    ),
    ("The cluster is down for ten minutes (60 times faster)", "/livez is 200 all the time, 0 restarts"),
    (
        "A value in Redis is somebody else's, damaged or too large",
        "It is ignored and counted, and read from the cluster again",
    ),
    (
        "Refreshes without a token, with a bad one, without CSRF token; a flood of valid ones",
        "401, 401, 403; one per MIN_REFRESH_INTERVAL, the others 429",
    ),
    (
        "Secrets in every setting, every log at DEBUG, errors of every kind",
        "None in logs, answers, error pages, metrics or `repr`: 0 hits",
    ),
    (
        "Hostile names of indices, hostile Host headers",
        "400, by the hot path and by Django; no key and no label of a metric for each",
    ),
    (
        "Long use under load, faster (`make soak` goes on for longer)",
        "Memory, file descriptors and tasks stay flat, entries within their limits",
    ),
    (
        "The wall clock is set an hour forward or back",
        "TTLs and the breaker don't notice (ages that SQLite keeps are told by the wall clock)",
    ),
    (
        "The whole cluster restarts, and recovers 1,000 indices; or comes back as another, with a lower version",
        "The watch begins anew, nothing is missed, no storm of requests",
    ),
    (
        "An index is deleted and made again under its name, with another mapping",
        "Seen by its uuid at the next look for changes",
    ),
    (
        "A gateway answers everything, in the place of the cluster: 404 (text, JSON, HTML), 200 with {} or HTML, 403",
        "Known names are stale, unknown ones and searches 503; health says why; no name is lost, no call needed after",
    ),
    (
        "The same for the listing alone; a path in ELASTICSEARCH_URL that doesn't lead to Elasticsearch",
        "An error with the likely cause, no name is lost; the command exits with 1",
    ),
    (
        "A single read adds a name that the last pass did not list, or drops one that it did",
        "The next pass of each process that this reached lists anew, at the same version of the metadata",
    ),
)
_LATER = (
    Case(
        36,
        "Of three nodes at three URLs one is killed",
        "Health never becomes unhealthy, every mapping is answered; a change is seen after 1 s at most (p95)",
    ),
    Case(
        37,
        "Of three nodes at three URLs one that isn't the master is stopped, and goes on",
        "Health never becomes unhealthy, a pass succeeds at the first try; a change is seen at most 5 s after the "
        "cluster acknowledged it (p95)",
    ),
    Case(
        38,
        "Another node of the cluster hangs than the one at the only URL, while a process starts",
        "It is ready 5 s after it serves, and its passes go on",
    ),
    Case(
        39,
        "Three nodes are started anew under load, one after the other",
        "Every search and mapping is answered; health never becomes unhealthy",
    ),
    Case(
        40,
        "One index is closed, one has no node that may hold it, or the cluster refuses all counts; nothing changes. "
        "Then parameters alone change, which no count shows",
        "The idle watch costs at most 20 requests a minute, 2 looks among them; a changed parameter is known in 3 s",
    ),
    Case(
        41,
        "The role covers one pattern (real security): unknown, foreign and restricted names",
        "404 that says so, one call per name and negative TTL; a missing privilege is named",
    ),
    Case(
        42,
        "No privilege `monitor`; serverless (410 and 404 of Elasticsearch on cluster state, statistics and health)",
        "Healthy with status unknown, full passes on schedule; what is missing and what it costs is said once",
    ),
    Case(
        43,
        "OpenSearch, http at a TLS port and the reverse, unknown host, refused port, # in a password, a wrong path",
        "Each has its own message with the remedy; host and port are for operators alone, a secret is for nobody",
    ),
    Case(
        44,
        "The cluster sends a body without end, gzip that unpacks to gigabytes, a million fields, an empty or illegal "
        "name, invalid UTF-8, an index twice",
        "The call fails within its bound, nothing of it is kept, pages work; memory grows by at most twice the bound, "
        "/livez takes at most 0.25 s",
    ),
    Case(
        45,
        "A block on an index or the cluster, a revoked key, good keys that get 401 for a while, 403 of a gateway",
        "Each is named as what it is; after 401 the watch asks again every 5 s",
    ),
    Case(
        46,
        "The cluster is 3 s slower under three searches a second; beside it: heavy queries while pings are quick; "
        "a few searches that fail",
        "Degraded within 20 s, with numbers and the time, no larger pool is advised; said but not degraded; degraded",
    ),
    Case(
        47,
        "The pool is full: a third of the searches is refused",
        "Degraded within 20 s, the refusals are counted, a larger pool is advised",
    ),
    Case(
        48,
        "The node is stopped (SIGSTOP) under one search a second; beside it: five timeouts of one heavy query",
        "The breaker is open within 10 s, after at most 10 slow failures, then 503 at once; it stays closed",
    ),
    Case(49, "A red index is polled eight times a second", "All searches on other indices are answered"),
    Case(
        50,
        "The breaker is open, the trouble ends, nobody calls",
        "Half-open by the next ping of the health monitor, which ends the alarm; the next call closes it",
    ),
    Case(
        51,
        "The store is readable, not writable: Redis READONLY, OOM, MISCONF; SQLite full, read-only; PostgreSQL standby",
        "Health, advice, metric and log say so with the cause, until a write succeeds; mappings are answered",
    ),
    Case(
        52,
        "Trouble has been over for eight minutes",
        "The verdict is healthy and says nothing of it; its advice is gone, and stands under what was, with its end",
    ),
    Case(
        53,
        "An outage of five minutes under load, two workers",
        "The log has its begin, a line a minute and its end, each with the process: at most 7 lines a process",
    ),
    Case(
        54,
        "500 and 2,000 strangers at once ask for a missing page, a static file, the login, /browse/, /api/health?x=1; "
        "all connections are taken",
        "Each is answered, with 503 where too many are under way; the p99 of /livez is at most 0.25 s and 1 s",
    ),
    Case(
        55,
        "150 wrong passwords: for one name from one address, for many names from one, for one name from many, over "
        "several workers and servers, by a proxy that isn't believed",
        "5 for a name and address and 20 for an address are checked, then 429 with the seconds; a name is slowed; "
        "logged and counted; the operator gets in from elsewhere",
    ),
    Case(
        56,
        "60 connections send 20,000 requests each and read no answer",
        "At most 20 MiB of memory, /livez within 0.25 s",
    ),
    Case(
        57,
        "400 requests at once with junk session cookies, PostgreSQL with 60 connections; also while others hold all "
        "but four of them",
        "Strangers' answers and refusals, no 500, at most 16 connections",
    ),
    Case(
        58,
        "The database is stopped, hangs, is locked, not migrated, or its disk is full: pages with a session, with a "
        "junk cookie, with a token",
        "Known staff and tokens are answered from memory, the others 503 with the cause, at once after the first; no "
        "session is lost",
    ),
    Case(
        59,
        "Nobody reads standard error and standard output",
        "Everything is answered, /livez within 0.25 s; what is lost is counted",
    ),
    Case(
        60,
        "10,000 requests that are no HTTP, or are answered 4xx",
        "They are counted; the log grows by at most 10 kB, and has no traceback",
    ),
    Case(
        61,
        "A field named `script`, an aggregation `script_hits`; scripts, stored ones, `collate`, `wrapper`; a terms "
        "lookup and others into another index, one that isn't selected, one that is missing",
        "Searched; refused; read where it is selected, else 400; Elasticsearch's reason, not that the searched index "
        "is missing",
    ),
    Case(
        62,
        "A session ends while its status page is open",
        "The page says so; the login leads back to the page, never to a part of it",
    ),
    Case(
        63,
        "Rows in the database are edited: blobs, dates that are none, JSON of another shape, hostile values",
        "Each is ignored and counted, the others are read; no 500 on any page; the next publication replaces them",
    ),
    Case(
        66,
        "A description is asked for at any budget, of 1 to 20,000 fields with any names",
        "It is never above the budget, ends in time, and counts what it leaves out",
    ),
    Case(
        67,
        "The process that reads the cluster is killed between writing changes and publishing, or the reverse; several "
        "write at once; version 1.0 writes beside; rows are no longer kept; there are several databases; 500 "
        "subscribers follow, half of them the process that is killed",
        "No change is lost without a `gap`, none told twice; ids are in the order of commits; 410 with the oldest id",
    ),
    Case(
        68,
        "Receivers of webhooks are down for hours, slow, answer 500 or redirect; the process that sends is killed "
        "(`kill -9`) amid deliveries, or all are",
        "Each gets every change at least once, those of each index in order; waits grow to an hour; none holds up "
        "another",
    ),
    Case(
        69,
        "Field values are due while callers' calls are under way, the cluster answers 429, or a breaker is open",
        "No call for them, or no second one; they are gathered once that is over",
    ),
    Case(
        70,
        "Ports 8000 and 9200 are taken, the embedded node dies; another cluster's mappings are in the store, or the "
        "cluster is built anew",
        "Commands reach the node that `make run` started or say that none runs, it ends with its node; what is another "
        "cluster's is said, neither answered nor published over while its instances run",
    ),
    Case(
        71,
        "Of three nodes at three URLs the master is stopped",
        "Every mapping is answered; a change is seen 5 s after another was elected and acknowledged it",
    ),
    Case(
        72,
        "Mappings come from a node that lags two seconds behind the one that told the version",
        "No pass takes them for unchanged: after the next pass none is old",
    ),
)
"""Cases with numbers of their own, because not all numbers before theirs are used."""
CASES = (*(Case(number, fault, expected) for number, (fault, expected) in enumerate(_CASES, start=1)), *_LATER)
