"""The sections of docs/benchmarks.md: the text about each bench, and the figures that are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Chart:
    """A chart. `labels`: metric → its name in the chart. `ours`: the metrics of this project. `scale`: "bars" from 0,
    or "dots" on a logarithmic scale.
    """

    file: str
    title: str
    unit: str
    scale: str
    labels: Mapping[str, str]
    ours: frozenset[str]


@dataclass(frozen=True)
class Part:
    """A section. `bench`: the bench whose figures it shows; `text`: their explanation."""

    bench: str
    title: str
    command: str
    text: str
    charts: tuple[Chart, ...] = field(default=())


INTRODUCTION = """
`make bench` (`python -m bench`) has written this document from one run; nothing here is written by hand. Programs find
the same figures in [benchmarks.json](benchmarks.json).
"""

QUICK = """
> **This was a quick run.** It has so few rounds that it shows that everything works, not how fast it is. `make bench`
> writes this document again from a full run.
"""

HOW = """
A figure is the median of several rounds. Each round does everything once, so that a slow phase of the machine affects
all figures alike. A ratio is taken within one run, in places within one round. "Samples" is the number of measurements
behind a figure. Goals that are missed are marked **MISSED**.
"""

SEED_TEXT = """
*Before* is what the original does, written again for these benches (`bench/subjects/naive.py`), or the profile
`rollback`, which has the original's pool. *After* is this project with its defaults. Both are measured in turn, on one
real node with {indices} indices of {distinct} distinct mappings.

- **health**: a round of health checks for each request, compared with the answer that is kept ready, on one connection.
  The time of *before* depends on how far away Elasticsearch is.
- **searches under way at once**: the most that a proxy in front of the node saw. Both have
  `ELASTICSEARCH_POOL_BLOCK=true`, so that only the size of the pool differs. By default, 50 more connections may
  overflow.
- **mappings fresh**: a process that knows nothing reads all mappings, while the proxy answers 30 % of the requests for
  mappings with 503. Then its mappings are compared with those of the cluster. By default, elasticsearch-py retries such
  requests by itself, at once and three times; the second row has that as *before*. *Before* sends a request for each
  index and each retry; a pass of this project sends a few dozen requests in all.
- **duplicate calls**: if many callers ask at once for a mapping that isn't in memory, only the first one needs a call.
  The node itself counts the calls.
- **memory**: how much the resident memory of a process grows, with each mapping as a dict, or in our cache, which keeps
  one copy of each distinct mapping. If all mappings were distinct, the gain would only be that of bytes over dicts (see
  *refresh*).
"""

WARMING = (
    *("never", "always", "last-asked", "EWMA", "seasonal", "Markov", "model", "oracle"),
    *("rule as shipped", "model as shipped"),
)
OUR_WARMING = ("model", "rule as shipped", "model as shipped")

PARTS = (
    Part(
        "seed",
        "Health, kept ready",
        "python -m bench.seed --only health",
        "The first row of the table above, with its spread over the rounds.",
        (
            Chart(
                "health.svg",
                "Health: time to answer, p50",
                "ms",
                "dots",
                {
                    "health, checked for each request": "checked for each request",
                    "health, kept ready": "kept ready (this project)",
                },
                frozenset({"health, kept ready"}),
            ),
        ),
    ),
    Part(
        "refresh",
        "Refresh",
        "python -m bench.refresh",
        "The cost of keeping {indices} mappings fresh, on a real node. A *full pass* reads all of them. *one GET* is "
        "the limit of the server itself: all mappings in one answer, which is not parsed. *naive* asks for one index "
        "at a time as the original does, five requests at once or one by one. With the watch, a change is in the "
        "answers soon after Elasticsearch acknowledged it.",
        (
            Chart(
                "refresh.svg",
                "Time to be up to date, {indices} indices",
                "ms",
                "dots",
                {
                    "naive pass, one by one": "naive pass, one by one",
                    "naive pass": "naive pass, five at once",
                    "one GET /_mapping": "one GET of all mappings, alone",
                    "first pass of a process": "first pass of a process",
                    "full pass": "full pass",
                    "one index changed": "one index changed",
                    "nothing changed": "nothing changed",
                },
                frozenset({"full pass", "first pass of a process", "one index changed", "nothing changed"}),
            ),
        ),
    ),
    Part(
        "coherence",
        "Several instances",
        "python -m bench.coherence",
        "{instances} servers over one cluster. *learnt* is the time from Elasticsearch's acknowledgement of a change "
        "until the first server answers with it; *spread* is the time from there until the last server does; *all* is "
        "both together. A measured time may be too long, by at most the time in the row *asked every*.",
    ),
    Part(
        "feed",
        "Change feed",
        "python -m bench.feed",
        "{subscribers} subscribers follow the change feed on {instances} servers over one cluster. Measured is the "
        "time from Elasticsearch's acknowledgement of a new field until a subscriber has the event, for all "
        "subscribers and changes together. The servers share a *redis*, or only the *database* (SQLite). The bench "
        "fails unless each subscriber gets each event exactly once. *Memory* is the growth of the servers' resident "
        "memory. *hot answers* are requests for health, answered from memory, on 8 connections to one of the servers: "
        "while nobody follows, while half of the subscribers follow it and nothing changes, and while an index "
        "changes each second. Servers, subscribers, generator and Elasticsearch share the processors.",
    ),
    Part(
        "pool",
        "Connection pools",
        "python -m bench.pool",
        "{callers} callers make {searches} searches; each asks again as soon as it is answered. Answers take "
        "{delay_ms} ms. They come from a real node (*node*), or were recorded from it (*recorded*) and cost no "
        "processor time. The values with `≤` are not goals: they are the most that so many connections can do with "
        "such waits.",
    ),
    Part(
        "http",
        "HTTP",
        "python -m bench.http",
        "Requests a second on {connections} connections, with one worker each. *bare* is an ASGI function that sends "
        "the same bytes and headers, which is the limit of the HTTP server underneath. FastAPI and plain Django send "
        "the same answer, but encode the JSON for each request. *livez* is asked {per_second} times a second during "
        "full passes over 10 000 indices, and compared with a server that does nothing, on the same processors.",
        (
            Chart(
                "throughput.svg",
                "Requests answered a second",
                "/s",
                "bars",
                {
                    "bare: health": "health: bare ASGI function",
                    "health": "health: this project",
                    "fastapi: health": "health: FastAPI",
                    "mapping": "mapping: this project",
                    "indices, bearer token": "API view: this project",
                    "django: no middleware": "API view: Django, no middleware",
                    "django: stock middleware": "API view: Django, stock middleware",
                },
                frozenset({"health", "mapping", "indices, bearer token"}),
            ),
        ),
    ),
    Part(
        "edge",
        "At the edge",
        "python -m bench.edge",
        "How many requests a second one worker carries, on the same processors as the generator and Elasticsearch: "
        "the fastest rate whose p99 is at most 50 ms, counted from when each request should have begun. *health* and "
        "*mapping* come from memory, and *names* is a view in the fast lane. *fields*, *validate* (two clauses and an "
        "aggregation, one of them wrong) and *describe* (500 tokens) are made from mappings in memory. A *miss* asks "
        "for a name that doesn't exist, which is the most expensive kind: Elasticsearch is asked for several names "
        "together, then for each alone. A *search* is one call. *beyond* is {times} times that rate on "
        "{beyond_connections} connections, with latencies counted from when a request was sent. During that, *others* "
        "ask for a mapping in memory and for /livez, 50 times a second together. *after* is half of the rate, right "
        "afterwards. Requests that need no waiting are not refused: each connection gets its answer in turn.",
    ),
    Part(
        "search",
        "Searches",
        "python -m bench.search",
        "The same searches go through this project, through Starlette with a plain AsyncElasticsearch of as many "
        "connections, and through uvicorn with only aiohttp, which is the limit. They go to a cluster that is "
        "*replayed* from recorded answers, so that the services have the processors for themselves; and to the *real* "
        "node that gave these answers, which shares the processors. Processor time is that of the whole process, as "
        "the kernel counts it.",
    ),
    Part(
        "views",
        "Views",
        "python -m bench.views",
        "What is derived from mappings. *Derivations* are counted for 1 000 names of nine mappings, which are asked "
        "for twice. *held* shows how long the event loop is blocked while a mapping of 20 000 fields is worked on in "
        "a thread: a task sleeps for a millisecond again and again, and its longest wait for a turn counts, in "
        "processor time. The day is replayed with a clock of its own: requests for 1 000 names and nine aliases, new "
        "fields and rollovers. A *wait* is a request for something that was asked for before and isn't ready now. "
        "*bare* is an ASGI function that sends the same bytes and headers, on {connections} connections.",
    ),
    Part(
        "strangers",
        "Strangers",
        "python -m bench.strangers",
        "{connections} callers without a token send the same request at the same moment, again and again: for a "
        "*static* file, a page that is *missing*, the *login* with a wrong password, */browse/*, or */api/health?x=1* "
        "(which isn't ready in memory). In the kind *pipelining*, 60 callers send 20 000 requests each and read no "
        "answer. During that, /livez is asked 50 times a second, each time on a new connection; in another run, "
        "health is asked from memory on 8 connections. Generator, probe and server share the processors; if other "
        "programs use them too, everything takes longer. The figures of version 1.0.0 were measured once, and are in "
        "the notes.",
    ),
    Part(
        "loop",
        "The loop",
        "python -m bench.loop",
        "How long callbacks block the event loop of a process while it reads 10 000 mappings, in processor time.",
    ),
    Part(
        "predict",
        "Warming ahead",
        "python -m bench.predict",
        "Which field values are gathered before anybody asks, and at what cost, by policy. {seeds} traces of each "
        "shape, {days} days long, are replayed. Nothing is measured on a machine, so the figures are the same "
        "everywhere. Values stay warm for six hours, the budget is six calls a minute, and half of the families cost "
        "two calls. Under each policy, a caller who asks for a family with cold values makes them be gathered. "
        "*never* does nothing else. *always* keeps everything warm. *last-asked* (the rule) keeps warm what was asked "
        "for within the last T; *EWMA* goes by the usual rate, *seasonal* by the same hour of the days before, and "
        "*Markov* by what usually follows. The *model* is `cacheapp/demand/`, which learns as it goes. The *oracle* "
        "knows the next twenty minutes. T is the one with the fewest calls on days 1 to 7, where each ask that finds "
        "cold values counts as five calls. The other policies have the parameters with the fewest calls on these days "
        "at a coverage that is no lower than with T. The first two days are for learning only; days 8 to 14 are "
        "judged. *In vain*: calls for values that nobody asked for while they were warm. *precision*: the share of "
        "the values warmed ahead that was asked for. *in time*: the share of the values rightly chosen that was warm "
        "when somebody asked. *wait*: how long callers wait who ask for cold values. The intervals are 95 % intervals "
        "over the seeds. The model becomes the default only if the lower bound of the calls that it saves against the "
        "best T is at least 15 % on every shape, at a coverage that is at most 1 % lower. *As shipped*: the rule with "
        "a T of 24 h, and the model with a chance of 20 % for each call, whatever was chosen. `--trace FILE` replays "
        "your own traffic.",
        (
            Chart(
                "predict-calls.svg",
                "Calls a day, mean over all shapes",
                "",
                "bars",
                {f"{policy}: calls a day": policy for policy in WARMING},
                frozenset({f"{policy}: calls a day" for policy in OUR_WARMING}),
            ),
            Chart(
                "predict-coverage.svg",
                "Asks that found warm values, mean over all shapes",
                "%",
                "bars",
                {f"{policy}: asks that found warm values": policy for policy in WARMING},
                frozenset({f"{policy}: asks that found warm values" for policy in OUR_WARMING}),
            ),
        ),
    ),
    Part(
        "fleet",
        "Growth",
        "python -m bench.fleet",
        "1 to 64 instances of one deployment over one cluster of 1 000 indices, all on the processors of one machine. "
        "The cluster is replayed, Redis is real, and each instance is a process with all of this project except HTTP. "
        "*Calls for mappings* are those of the watch and of passes, which one instance makes for all. *Calls for "
        "health* are made by each instance. Redis' commands are those that it carried out, including the ones inside "
        "of scripts. The cost of a change doesn't include what is asked for without changes too. *Spread* is the time "
        "from the first instance that has a change to the last one. Then follow the cost of one change at Redis, by "
        "the store alone, and a server over more and more indices.",
    ),
)
