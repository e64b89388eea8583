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
Made by `make bench` (`python -m bench`), all in one run: nothing here is written by hand. The same figures, for
programs: [benchmarks.json](benchmarks.json).
"""

QUICK = """
> **A quick run**, with so few rounds that it shows that everything works, not how fast it is. `make bench` makes this
> document anew from a full one.
"""

HOW = """
A figure is the median of rounds that alternate: each does everything once, so that what slows the machine down slows
all alike. A ratio is taken in one run, in places within one round. Samples say what a figure rests on. Goals that are
missed are written as **MISSED**.
"""

SEED_TEXT = """
*Before* is what the original does, written again for these benches (`bench/subjects/naive.py`), or the profile
`rollback`, which has its pool; *after* is this project with its defaults. Both are measured in turn, on one real node
with {indices} indices of {distinct} distinct mappings.

- **health**: a round of health checks for each request, beside the answer that is kept ready, on one connection. How
  slow *before* is depends on how far away Elasticsearch is.
- **searches under way at once**: the most that a proxy in front of the node saw, with `ELASTICSEARCH_POOL_BLOCK=true`
  in both, so that nothing but the pool's size differs. By default 50 more may overflow.
- **mappings fresh**: a process that knows nothing reads all mappings while 30 % of the requests for mappings get 503
  from the proxy; then what it knows is compared with what the cluster has. elasticsearch-py retries such answers by
  itself, at once and three times, unless told otherwise: the second row has that as *before*. It takes one request for
  each index and each retry, where a pass of ours takes a few dozen in all.
- **duplicate calls**: of callers who ask at once for a mapping that nobody has yet, only the first needs a call. Calls
  are those that the node itself counted.
- **memory**: how much the resident memory of a process grows, with each mapping as a dict or in our cache, which keeps
  one copy of each distinct mapping. Were all mappings distinct, the gain would be that of bytes over dicts (see
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
        "Keeping {indices} mappings fresh, on a real node. A *full pass* reads all of them; *one GET* is the "
        "server's own limit, all mappings in one answer that nobody looks at; *naive* asks for one index at a time "
        "as the original does, five at once or one by one. With the watch, a change is in the answers soon after "
        "Elasticsearch acknowledged it.",
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
        "until the first server answers with it, *spread* from there until the last does, *all* both together. A "
        "time may be too long by as much as *asked every* says.",
    ),
    Part(
        "feed",
        "Change feed",
        "python -m bench.feed",
        "{subscribers} subscribers of the change feed on {instances} servers over one cluster: the time from "
        "Elasticsearch's acknowledgement of a new field until a subscriber has the event, of all subscribers and "
        "changes together, over *redis* and with nothing but the *database* (SQLite) between the servers. Each gets "
        "each event once, or the bench fails. *Memory* is what the resident memory of the servers grew by. *hot "
        "answers* are requests for health from memory on 8 connections to one of the servers: while nobody follows, "
        "while half of the subscribers follow it in silence, and while an index changes each second. Servers, "
        "subscribers, generator and Elasticsearch share the processors.",
    ),
    Part(
        "pool",
        "Connection pools",
        "python -m bench.pool",
        "{searches} searches by {callers} callers, each asking again as soon as it is answered, with answers "
        "{delay_ms} ms away: from a real node (*node*), or recorded ones of it (*recorded*), which cost no processor "
        "time. The values `≤` are what so many connections can do by the waiting alone, not goals.",
    ),
    Part(
        "http",
        "HTTP",
        "python -m bench.http",
        "Requests a second on {connections} connections, one worker each. *bare* is an ASGI function that sends the "
        "same bytes and headers: what the server underneath can do. FastAPI and plain Django send the same answer as "
        "JSON made for each request. *livez* is asked {per_second} times a second while full passes over 10 000 "
        "indices go on, beside a server that does nothing, on the same processors.",
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
        "How many requests a second one worker carries, beside the generator and Elasticsearch on the same "
        "processors: the fastest rate whose p99, counted from when each request should have begun, is at most 50 ms. "
        "*health* and *mapping* come from memory, *names* is a view in the fast lane; *fields*, *validate* (two "
        "clauses and an aggregation, one of them wrong) and *describe* (500 tokens) are made of mappings in memory; a "
        "*miss* asks for a name that doesn't exist, the dearest sort: Elasticsearch is asked for several together, "
        "then for each alone. A *search* is one call. *beyond* is {times} times that rate on {beyond_connections} "
        "connections, with latencies from when a request was sent; *others* meanwhile ask for a mapping in memory and "
        "for /livez, 50 times a second together; *after* is half of the rate, right afterwards. What needs no waiting "
        "is not refused: each connection gets its answer in turn.",
    ),
    Part(
        "search",
        "Searches",
        "python -m bench.search",
        "The same searches through this project, through Starlette with a plain AsyncElasticsearch of as many "
        "connections, and through nothing but uvicorn and aiohttp, which is the limit; to a cluster that is *replayed* "
        "from recorded answers, so that the processors are the services', and to the *real* node that gave them, which "
        "shares them. Processor time is that of the whole process, as the kernel counts it.",
    ),
    Part(
        "views",
        "Views",
        "python -m bench.views",
        "What is derived from mappings. *Derivations* are counted for 1 000 names of nine mappings, asked for "
        "twice. How long the *loop* is *held* is how long a task that sleeps for a millisecond again and again "
        "waits for its turn, at most, in processor time, while a mapping of 20 000 fields is worked on in a "
        "thread. The day is replayed by a clock of its own: requests for 1 000 names and nine aliases, new fields "
        "and rollovers; a *wait* is a request for what was asked for before and isn't ready. *bare* is an ASGI "
        "function that sends the same bytes "
        "and headers, on {connections} connections.",
    ),
    Part(
        "strangers",
        "Strangers",
        "python -m bench.strangers",
        "{connections} callers without a token ask at the same moment for one thing, again and again: a *static* "
        "file, a page that is *missing*, the *login* with a wrong password, */browse/*, */api/health?x=1* (which "
        "isn't ready in memory); or 60 send 20 000 requests each and read no answer (*pipelining*). Meanwhile /livez "
        "is asked 50 times a second, each time on a new connection, and in another run health from memory, on 8. "
        "Generator, probe and server share the processors; where others do too, all takes longer. What the code of "
        "1.0.0 showed was measured once, and is in the notes.",
    ),
    Part(
        "loop",
        "The loop",
        "python -m bench.loop",
        "How long callbacks hold the loop of a process, in processor time, while it reads 10 000 mappings.",
    ),
    Part(
        "predict",
        "Warming ahead",
        "python -m bench.predict",
        "Whose field values are gathered before anybody asks, by policy. {seeds} traces of each shape, {days} days "
        "long, are replayed: nothing is measured on a machine, so the figures are the same everywhere. Values are warm "
        "for six hours, the budget is six calls a minute, half of the families cost two calls. Whoever asks for a "
        "family with cold values has them gathered by that, under each policy. *never* does nothing else, *always* "
        "keeps all warm, *last-asked* (the rule) what was asked for within the last T, *EWMA* by the usual rate, "
        "*seasonal* by the same hour of the days before, *Markov* by what follows what; the *model* is "
        "`cacheapp/demand/`, and learns as it goes; the *oracle* knows the next twenty minutes. T is the one with the "
        "fewest calls on days 1 to 7, where each ask that finds cold values counts as five; all others have the "
        "parameters with the fewest calls there at no less coverage than T has. The first two days only teach; days 8 "
        "to 14 are judged. "
        "*In vain*: calls for what nobody asked for while it was warm; *precision*: the share of what was warmed ahead "
        "that was asked for; *in time*: of what was rightly to be warmed, the share that was warm when somebody asked; "
        "*wait*: how long who asks for cold values has to wait for them. With 95 % intervals over the seeds. The model "
        "is the default only if the lower bound of the calls that it saves against the best T is at least 15 % on "
        "every shape, at a coverage at most 1 % lower. *As shipped*: the rule with a T of 24 h, and the model with a "
        "chance of 20 % for each call, whatever is chosen. `--trace FILE` replays your own traffic.",
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
        "1 to 64 instances of one deployment over one cluster of 1 000 indices, all on the processors of one machine: "
        "the cluster is replayed, Redis is real, and each instance is a process with all of this project but for "
        "HTTP. *Calls for mappings* are those of the watch and of passes, which one instance makes for all; *calls for "
        "health* are each instance's own. Redis' commands are those that it carried out, also inside of scripts; what "
        "a change costs is beyond what comes anyway. *Spread* is from the first instance that has a change to the "
        "last. Then what one change costs at Redis by the store alone, which publishes what is new, and a server over "
        "ever more indices.",
    ),
)
