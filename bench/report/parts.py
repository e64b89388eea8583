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
`make bench` (`python -m bench`) measured all of this in one run, and wrote this page; nothing is written by hand.
[benchmarks.json](benchmarks.json) has the same figures for programs.
"""

QUICK = """
> **A quick run**, with so few rounds that it only shows that everything works, not how fast it is. `make bench` writes
> this page again from a full run.
"""

HOW = """
A figure is the median of several rounds. Each round measures everything once, so that whatever slows the machine down
affects everything alike. A ratio compares figures of one run, in some cases of one round. *Samples* says how much was
measured. A goal that was not reached is marked as **MISSED**.
"""

SEED_TEXT = """
The *original* is the FastAPI service that this project replaces. *Before* is what the original does, written again
for these benches (`bench/subjects/naive.py`), or the profile `rollback`, which has the original's pool. *After* is this
project with its defaults. Both are measured in turn, on one real node with {indices} indices and {distinct} distinct
mappings.

- **health**: a round of health checks for each request, compared with the answer that is kept ready, on one connection.
  How slow *before* is depends on how far away Elasticsearch is.
- **searches under way at once**: the most that a proxy in front of the node saw. `ELASTICSEARCH_POOL_BLOCK=true` is set
  in both cases, so that only the size of the pool differs. By default 50 more may overflow.
- **mappings fresh**: a process that knows nothing reads all mappings while 30 % of the requests for mappings get 503
  from the proxy. Then what it knows is compared with what the cluster has. By default elasticsearch-py itself retries
  such answers three times at once: the second row has that as *before*. It takes one request for each index and each
  retry; a pass of this project takes a few dozen requests in all.
- **duplicate calls**: if many callers ask at once for a mapping that nobody has yet, only one call is needed. The node
  itself counts the calls.
- **memory**: how much the resident memory of a process grows, with each mapping as a dict, or in this project's cache,
  which keeps one copy of each distinct mapping. If all mappings were distinct, only the difference between bytes and
  dicts would remain (see *refresh*).
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
        "The first row of the table above, with its lowest and highest values over the rounds.",
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
        "Keeping {indices} mappings fresh, on a real node. A *full pass* reads all of them. *one GET* gets all "
        "mappings in one answer, which is not parsed: it is the limit of the server itself. *naive* asks for one index "
        "at a time, as the original does, five at once or one by one. With the watch, a change is in the answers soon "
        "after Elasticsearch acknowledged it.",
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
        "{instances} servers over one cluster: *learnt* is the time from Elasticsearch's acknowledgement of a change "
        "until the first server answers with it, *spread* the time from then until the last server does, *all* both "
        "together. A time may be too long by as much as *asked every* says.",
    ),
    Part(
        "feed",
        "Change feed",
        "python -m bench.feed",
        "{subscribers} subscribers follow the change feed on {instances} servers over one cluster. The time is that "
        "from Elasticsearch's acknowledgement of a new field until a subscriber has the event, for all subscribers and "
        "changes together: with *redis* between the servers, and with only the *database* (SQLite). Each subscriber "
        "gets each event once, or the bench fails. *Memory* is by how much the resident memory of the servers grew. "
        "*hot answers* are requests for health from memory on 8 connections to one of the servers: while nobody "
        "follows, while half of the subscribers follow it and nothing changes, and while an index changes each second. "
        "Servers, subscribers, generator and Elasticsearch share the processors.",
    ),
    Part(
        "pool",
        "Connection pools",
        "python -m bench.pool",
        "{searches} searches by {callers} callers, each of which asks again as soon as it has an answer. An answer "
        "takes {delay_ms} ms: from a real node (*node*), or recorded from one (*recorded*), which costs no processor "
        "time. *block, 20* is a pool of 20 connections, for which further calls wait. *overflow, 50 + 50* is a pool of "
        "50 connections and up to 50 more, which are closed after use. The values `≤` are not goals: they say what so "
        "many connections could do if waiting took all of the time.",
    ),
    Part(
        "http",
        "HTTP",
        "python -m bench.http",
        "Requests a second on {connections} connections, with one worker each. *bare* is an ASGI function that sends "
        "the same bytes and headers: it shows what uvicorn itself can do. FastAPI and plain Django send the same "
        "answer, as JSON that is made for each request. *livez* is asked {per_second} times a second during full "
        "passes over 10 000 indices, and for comparison at a server that does nothing, on the same processors.",
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
        "How many requests one worker can answer in a second, with the generator and Elasticsearch on the same "
        "processors. *carried* is the highest rate at which the p99 is at most 50 ms, counted from when each request "
        "should have begun. "
        "*health* and *mapping* come from memory. *names* is a view in the fast lane. *fields*, *validate* (two "
        "clauses and an aggregation, one of them wrong) and *describe* (500 tokens) are made from mappings in memory. "
        "A *miss* asks for a name that doesn't exist, which costs most: Elasticsearch is asked for several names "
        "together, then for each one. A *search* is one call. *beyond* is {times} times that rate on "
        "{beyond_connections} connections, with latencies counted from when a request was sent; the note says how many "
        "of these requests got another status or no answer. During that time, *too much of names* for example, there "
        "are also requests of *others*: for a mapping in memory and for /livez, 50 a second together. *after* is half "
        "of the carried rate, right afterwards. Of *health* and *mapping*, answers that are "
        "ready, none is refused. *names*, *fields*, *validate* and *describe* are refused when they have waited behind "
        "others for 0.4 s, so their refusals can't come within 250 ms.",
    ),
    Part(
        "search",
        "Searches",
        "python -m bench.search",
        "The same searches through this project, through Starlette with a plain AsyncElasticsearch of as many "
        "connections, and through uvicorn and aiohttp only, which is the limit. They go to a cluster that is "
        "*replayed* from recorded answers, so that only the services use the processors, and to the *real* node that "
        "gave these answers, which shares the processors. Processor time is that of the whole process, as the kernel "
        "counts it.",
    ),
    Part(
        "views",
        "Views",
        "python -m bench.views",
        "What is derived from mappings. *Derivations* are counted for 1 000 names with nine mappings, each asked for "
        "twice. A task sleeps for a millisecond again and again while a mapping of 20 000 fields is processed in a "
        "thread; how long the *loop* is *held* is the longest time that this task waits for its turn, in processor "
        "time. A day is replayed with a clock of its own: requests for 1 000 names and nine aliases, new fields and "
        "rollovers. A *wait* is a request for something that was asked for before but isn't ready. *bare* is an ASGI "
        "function that sends the same bytes and headers, on {connections} connections.",
    ),
    Part(
        "strangers",
        "Strangers",
        "python -m bench.strangers",
        "{connections} callers without a token ask for one thing at the same moment, again and again: a *static* "
        "file, a page that is *missing*, the *login* with a wrong password, */browse/*, or */api/health?x=1* (which "
        "isn't ready in memory). For *pipelining*, 60 callers send 20 000 requests each and read no answer. Meanwhile "
        "/livez is asked 50 times a second, each time on a new connection, and, in another run, health from memory on "
        "8 connections. Generator, probe and server share the processors; everything takes longer if other programs "
        "do, too. The figures of version 1.0.0 were measured once, and are in the notes.",
    ),
    Part(
        "loop",
        "The loop",
        "python -m bench.loop",
        "How long callbacks hold the event loop of a process, in processor time, while it reads 10 000 mappings.",
    ),
    Part(
        "predict",
        "Warming ahead",
        "python -m bench.predict",
        "Policies for gathering field values before anybody asks. {seeds} traces of each shape of traffic, {days} days "
        "long, are replayed. Nothing is measured on a machine, so the figures are the same everywhere. Values are warm "
        "for six hours, the budget is six calls a minute, and half of the families cost two calls. Under each policy, "
        "a request for a family with cold values has them gathered.\n\n"
        "The policies: *never* does nothing else. *always* keeps all values warm. *last-asked* (the rule) keeps warm "
        "what was asked for within the last T. *EWMA* goes by the usual rate, *seasonal* by the same hour of the days "
        "before, *Markov* by what usually follows what. The *model* is `cacheapp/demand/`, and learns as it goes. The "
        "*oracle* knows the next twenty minutes. *As shipped* are the rule with a T of 24 h, and the model with a "
        "chance of 20 % for each call, whatever is chosen.\n\n"
        "The first two days only teach, and days 8 to 14 are judged. T is the one with the fewest calls on days 1 to "
        "7, where each ask that finds cold values counts as five calls. All other policies have the parameters with "
        "the fewest calls on these days at no less coverage than T has.\n\n"
        "*In vain* are calls for values that nobody asked for while they were warm. *precision* is the share of what "
        "was warmed ahead that was asked for. *in time* is the share that was warm when somebody asked, of what was "
        "rightly to be warmed. *wait* is how long a request for cold values has to wait for them. Intervals are 95 % "
        "over the seeds. The model is the default only if the lower bound of the calls that it saves against the best "
        "T is at least 15 % on every shape, at a coverage that is at most 1 % lower. `--trace FILE` replays your own "
        "traffic.",
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
        "The cluster is replayed, Redis is real, and each instance is a process with everything of this project except "
        "HTTP. *Calls for mappings* are those of the watch and of passes, which one instance makes for all; *calls for "
        "health* are those of each instance. The note of the first row of each size has all requests at the cluster "
        "while nothing changed, by kind; *waits* are those of the watch. Commands of Redis are those that it carried "
        "out, also inside of scripts. *Memory of an instance of its own* is what it shares with no other process. The "
        "cost of a change is what comes on top of the usual traffic. *Spread* is the time from the first instance "
        "that has a change to the last. The last tables show what one change costs at Redis by the store alone, which "
        "publishes only what is new, and one server over more and more indices.",
    ),
)
