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
        "All of them are answered by that same call",
    ),
    (
        "The call that many wait for fails",
        "One call, and one more for each retry; the failure is remembered for at most 1 s; nobody waits for ever",
    ),
    (
        "A mapping that is requested all the time becomes older than its TTL",
        "The stale mapping is answered while one call reads it again; no request waits",
    ),
    (
        "The cluster refuses connections; mappings are in memory",
        "All are answered with their age until TTL and MAPPING_CACHE_MAX_STALE are over; then 503",
    ),
    (
        "The cluster accepts connections but never answers (packets lost, or the process stopped)",
        "A miss ends within MAPPING_CACHE_FETCH_TIMEOUT, a health check within HEALTH_TIMEOUT",
    ),
    (
        "The cluster is down for a minute",
        "The circuit breaker opens after its minimum of calls; a refusal then needs no I/O",
    ),
    (
        "500 callers at once find the breaker half-open",
        "Only the permitted probes reach the cluster",
    ),
    (
        "The probe of a half-open breaker hangs, or its caller leaves",
        "The breaker is half-open only until the probe's deadline",
    ),
    (
        "100 callers cancel their calls",
        "The breaker stays closed, and no connection stays in use",
    ),
    (
        "The cluster recovers under load",
        "The breaker closes after its open time and one probe; load never exceeds 1.5 times the normal load",
    ),
    (
        "The cluster answers 429 with Retry-After, for a minute",
        "Its pause is respected; attempts are at most 1.1 times the requests and 10 per 10 s: the retry budget",
    ),
    (
        "30 % of the cluster's answers are 503 during full passes",
        "At least 99.9 % of the mappings are fresh; with one attempt each, about 30 % would be lost",
    ),
    (
        "The cluster can't give one mapping of 500",
        "499 are fresh; the other one is kept, marked as stale and named; the command exits with 3",
    ),
    (
        "The cluster becomes 500 ms slower, then quick again",
        "Batches are at most half as large within 3 batches, and as large as before within 10",
    ),
    (
        "All connections of a pool are in use for 10 s",
        "A call waits for a bounded time or gets an overflow connection, then 503; nothing leaks, health is right",
    ),
    (
        "The pool of one kind of index is full",
        "Requests of other pools don't wait: 0 in the queue there",
    ),
    (
        "Redis never answers (packets lost, or the process stopped)",
        "A wait of at most 400 ms once; then nobody waits for Redis",
    ),
    (
        "Redis is killed and comes back empty while processes listen for its news",
        "Servers subscribe again; a change is answered by all within the TTL",
    ),
    (
        "Two refresh commands at once",
        "One runs, the other says so and exits with 75",
    ),
    (
        "The process that refreshes or watches is killed with `kill -9`, or stopped",
        "Another one takes over once the lease has ended; a late write of the former one is refused",
    ),
    (
        "Four servers instead of one, with watch and schedule",
        "At most 1.1 times the calls of one server, for the version of the metadata, lists and mappings",
    ),
    (
        "SIGTERM under load, with slow requests under way and idle connections open",
        "/readyz is 503 while it drains, all requests end, and it exits within drain time, grace time and 1 s",
    ),
    (
        "The cluster is down for ten minutes (simulated 60 times faster)",
        "/livez is 200 all the time, and 0 restarts",
    ),
    (
        "A value in Redis was not written by this service, is damaged or too large",
        "It is ignored and counted, and read from the cluster again",
    ),
    (
        "Refreshes without a token, with a bad one, without CSRF token; a flood of valid ones",
        "401, 401, 403; one per MIN_REFRESH_INTERVAL, the others 429",
    ),
    (
        "Secrets in every setting, every log at DEBUG, errors of every kind",
        "No secret is in logs, answers, error pages, metrics or `repr`",
    ),
    (
        "Hostile names of indices, hostile Host headers",
        "400, from the hot path and from Django; no key and no label of a metric for any of them",
    ),
    (
        "Long use under load, at a higher speed (`make soak` runs for longer)",
        "Memory, file descriptors and tasks don't grow; entries stay within their limits",
    ),
    (
        "The wall clock is set an hour forward or back",
        "TTLs and the breaker aren't affected (ages that SQLite keeps follow the wall clock)",
    ),
    (
        "The cluster restarts, and recovers 1,000 indices; or it comes back as another one, with a lower version",
        "The watch starts again, nothing is missed, and there is no storm of requests",
    ),
    (
        "An index is deleted and made again under its name, with another mapping",
        "It is recognised by its uuid at the next look for changes",
    ),
    (
        "A gateway answers everything in place of the cluster: 404 (text, JSON, HTML), 200 with {} or HTML, 403",
        "Known names are stale, unknown names and searches 503; health says why; no name is lost, nobody has to act",
    ),
    (
        "The same only for the listing; or a path in ELASTICSEARCH_URL that doesn't lead to Elasticsearch",
        "An error with the likely cause; no name is lost; the command exits with 1",
    ),
    (
        "A single read adds a name that the last pass did not list, or drops one that it listed",
        "The next pass of each process that learnt of it lists again, at the same version of the metadata",
    ),
)
_LATER = (
    Case(
        36,
        "There are three nodes at three URLs, and one is killed",
        "Health is never unhealthy, every mapping is answered; a change is seen after at most 1 s (p95)",
    ),
    Case(
        37,
        "There are three nodes at three URLs; one that isn't the master is stopped, and continued later",
        "Health is never unhealthy, a pass succeeds at the first try; a change is seen at most 5 s after the "
        "cluster acknowledged it (p95)",
    ),
    Case(
        38,
        "While a process starts, a node of the cluster hangs, but not the one at the only URL",
        "The process is ready 5 s after it serves, and its passes succeed",
    ),
    Case(
        39,
        "Three nodes are restarted under load, one after the other",
        "Every search and mapping is answered; health is never unhealthy",
    ),
    Case(
        40,
        "One index is closed, one has no node that may hold it, or the cluster refuses all counts; nothing "
        "changes. Then only parameters change, which no count shows",
        "The idle watch costs at most 20 requests a minute, with 2 looks among them; a changed parameter is known "
        "within 3 s",
    ),
    Case(
        41,
        "The role covers one pattern (with real security): unknown, foreign and restricted names",
        "404 that says so, with one call per name and negative TTL; a missing privilege is named",
    ),
    Case(
        42,
        "No privilege `monitor`; or serverless (Elasticsearch answers 410 and 404 for cluster state, statistics "
        "and health)",
        "Healthy with status unknown, full passes by the schedule; what is missing, and what that costs, is said once",
    ),
    Case(
        43,
        "OpenSearch, http at a TLS port and the reverse, unknown host, refused port, # in a password, a wrong path",
        "Each has its own message with the remedy; only operators see host and port, and nobody sees a secret",
    ),
    Case(
        44,
        "The cluster sends a body without end, gzip that unpacks to gigabytes, a million fields, an empty or "
        "illegal name, invalid UTF-8, an index twice",
        "The call fails within its bound, nothing of it is kept, pages work; memory grows by at most twice the "
        "bound, /livez takes at most 0.25 s",
    ),
    Case(
        45,
        "A block on an index or the cluster, a revoked key, good keys that get 401 for a while, 403 of a gateway",
        "Each is named correctly; after 401 the watch asks again every 5 s",
    ),
    Case(
        46,
        "The cluster is 3 s slower under three searches a second; also: heavy queries while pings are quick; and a "
        "few searches that fail",
        "Degraded within 20 s, with numbers and the time, and no larger pool is recommended; for heavy queries: "
        "said, but not degraded; for failing searches: degraded",
    ),
    Case(
        47,
        "The pool is full: a third of the searches is refused",
        "Degraded within 20 s, the refusals are counted, and a larger pool is recommended",
    ),
    Case(
        48,
        "The node is stopped (SIGSTOP) under one search a second; also: five timeouts of one heavy query",
        "The breaker is open within 10 s, after at most 10 slow failures, and then calls get 503 at once; with the "
        "heavy query it stays closed",
    ),
    Case(
        49,
        "A red index is polled eight times a second",
        "All searches on other indices are answered",
    ),
    Case(
        50,
        "The breaker is open, the trouble ends, and nobody calls",
        "The breaker is half-open after the next ping of the health monitor, which ends the alarm; the next call "
        "closes it",
    ),
    Case(
        51,
        "The store can be read but not written: Redis READONLY, OOM, MISCONF; SQLite full, read-only; PostgreSQL "
        "standby",
        "Health, advice, a metric and the log say so with the cause until a write succeeds; mappings are answered",
    ),
    Case(
        52,
        "Trouble has been over for eight minutes",
        "The verdict is healthy and doesn't mention it; its recommendation is listed under `was`, with its end",
    ),
    Case(
        53,
        "An outage of five minutes under load, two workers",
        "The log has its beginning, a line a minute and its end, each with the process id: at most 7 lines a process",
    ),
    Case(
        54,
        "500 and 2,000 strangers at once ask for a missing page, a static file, the login, /browse/, "
        "/api/health?x=1; all connections are taken",
        "Each is answered, with 503 if too many are under way; the p99 of /livez is at most 0.25 s (500) and 1 s "
        "(2,000)",
    ),
    Case(
        55,
        "150 wrong passwords: for one name from one address, for many names from one address, for one name from "
        "many addresses, over several workers and servers, and through a proxy that isn't trusted",
        "5 for a name and address, and 20 for an address, are checked, then 429 with the seconds to wait; a name "
        "is slowed; all is logged and counted; the operator can log in from elsewhere",
    ),
    Case(
        56,
        "60 connections send 20,000 requests each and read no answer",
        "Memory grows by at most 20 MiB, and /livez answers within 0.25 s",
    ),
    Case(
        57,
        "400 requests at once with made-up session cookies, PostgreSQL with 60 connections; also while others hold "
        "all but four of them",
        "Answers and refusals as for strangers, no 500, at most 16 connections",
    ),
    Case(
        58,
        "The database is stopped, hangs, is locked, not migrated, or its disk is full: pages with a session, with "
        "a made-up cookie, with a token",
        "Known staff and tokens are answered from memory; others get 503 with the cause, at once after the first; "
        "no session is lost",
    ),
    Case(
        59,
        "Nobody reads standard error and standard output",
        "Everything is answered, /livez within 0.25 s; lost records are counted",
    ),
    Case(
        60,
        "10,000 requests that are not HTTP, or are answered with 4xx",
        "They are counted; the log grows by at most 10 kB, and has no traceback",
    ),
    Case(
        61,
        "A field named `script`, an aggregation `script_hits`; scripts, stored scripts, `collate`, `wrapper`; a "
        "terms lookup and other ways into another index, which isn't selected or doesn't exist",
        "Such names can be searched; scripts and hidden queries are refused; the other index is read if it is "
        "selected, else 400; for a missing index Elasticsearch's reason is given",
    ),
    Case(
        62,
        "A session ends while its status page is open",
        "The page says so; the login leads back to the whole page, never to a part of it",
    ),
    Case(
        63,
        "Rows in the database are edited: blobs, invalid dates, JSON of another form, hostile values",
        "Each is ignored and counted, the others are read; no 500 on any page; the next publication replaces them",
    ),
    Case(
        66,
        "A description is requested with any budget, for 1 to 20,000 fields with any names",
        "It is never above the budget, ends in time, and counts what it leaves out",
    ),
    Case(
        67,
        "The process that reads the cluster is killed between writing changes and publishing, or the reverse; "
        "several processes write at once; version 1.0 writes, too; rows are no longer kept; there are several "
        "databases; 500 subscribers follow, half of them at the process that is killed",
        "No change is lost without a `gap`, and none is told twice; ids are in the order of commits; 410 with the "
        "oldest id",
    ),
    Case(
        68,
        "Receivers of webhooks are down for hours, slow, answer 500 or redirect; the process that sends is killed "
        "(`kill -9`) during deliveries, or all processes are",
        "Each receiver gets every change at least once, in order for each index; waits grow up to an hour; no "
        "receiver holds up another",
    ),
    Case(
        69,
        "Field values are due while callers' calls are under way, the cluster answers 429, or a breaker is open",
        "There is no call for them, or no second one; they are gathered once that is over",
    ),
    Case(
        70,
        "Ports 8000 and 9200 are taken, or the embedded node dies; another cluster's mappings are in the store, or "
        "the cluster is built anew",
        "Commands reach the node that `make run` started, or say that none runs; `make run` ends with its node; "
        "what belongs to another cluster is reported, and neither answered nor published over while its instances "
        "run",
    ),
    Case(
        71,
        "There are three nodes at three URLs, and the master is stopped",
        "Every mapping is answered; a change is seen within 5 s after another master was elected and acknowledged it",
    ),
    Case(
        72,
        "Mappings come from a node that is two seconds behind the node that told the version",
        "No pass takes them for unchanged: after the next pass no mapping is old",
    ),
)
"""The cases from 36 on, whose numbers have gaps."""
CASES = (*(Case(number, fault, expected) for number, (fault, expected) in enumerate(_CASES, start=1)), *_LATER)
