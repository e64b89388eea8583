"""A soak: `python -m bench.soak [--minutes N] [--instances N] [--seed N]`, or `make soak MINUTES=10`.

A soak runs three real nodes and a real Redis, a fault proxy before each of them, and the instances of one deployment
(`manage.py serve`), whose cache is too small for all mappings. One writer changes the cluster all the time. Users send
all kinds of requests to all instances: with a token for all names, with a token for some, and without one. All kinds of
faults happen one after the other, some of them to a single node. Their plan is printed with its seed.

The soak fails (exit code 1) if one of these happens:

* an answer has a mapping that was not true at its stated age (bench/soak/truth.py says what that means), or is a 404
  for a name that existed;
* a validation says something of a field that was not true at its stated age;
* a list of fields has values that no document has, or values of a family that may have none;
* a token gets a name that it may not see;
* a follower of the change feed, who moves from one instance to the next, misses a recorded change, or gets one twice or
  out of order;
* a request gets an unexpected status, no answer, or 503 while the cluster is well;
* a log has an error, or an instance ends;
* the memory, descriptors, threads or tasks of an instance grow, or its cache exceeds its limits;
* at the end, when nothing is wrong any more, an instance doesn't answer exactly what is true.

Results are written to .cache/bench/soak.json, and the logs of the instances to soak/ beside it. A run of at least ten
minutes also writes docs/soak.md.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import save
from bench.soak.report import Options, document, lines_of
from bench.soak.soak import DOCUMENT, DOCUMENTED_MINUTES, Soak, say
from bench.subjects.cluster import CACHE
from dev.elasticsearch.cluster import Cluster
from dev.elasticsearch.node import Node
from esassistant.clock import now_utc


def _interrupted(number: int, frame: object) -> NoReturn:
    """End everything in order at the first Ctrl-C or SIGTERM. Further signals must not disturb that."""
    del number, frame
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _cluster(nodes: int, data: Path) -> Node | Cluster:
    return Node(data) if nodes == 1 else Cluster(data, size=nodes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="See the top of bench/soak/__main__.py.")
    parser.add_argument("--minutes", type=float, default=10.0, help="of load (default: %(default)g)")
    parser.add_argument("--instances", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=3, help="default: %(default)s")
    parser.add_argument("--users", type=int, default=6, help="who ask at the same time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of the plan and the load (default: another each time)")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    options = Options(60 * arguments.minutes, arguments.instances, arguments.users, seed, nodes=arguments.nodes)
    folder = CACHE / "soak"
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-node-") as data, _cluster(arguments.nodes, Path(data)) as cluster:
            soak = Soak(options, cluster, folder)
            print(f"seed {seed}, {len(soak.plan)} faults in {options.seconds:g} s:")
            for fault in soak.plan:
                print(f"  {fault}")
            sys.stdout.flush()
            for before in (*folder.glob("soak.sqlite3*"), *folder.glob("instance-*.log")):
                before.unlink()
            result = soak.run()
    except KeyboardInterrupt:
        say("interrupted; everything was ended")
        return 130
    save(CACHE / "soak.json", **result.as_json())
    print("\n".join(lines_of(result)))
    if options.seconds >= 60 * DOCUMENTED_MINUTES:
        DOCUMENT.write_text(document(result, now_utc(), DOCUMENTED_MINUTES))
        say("written: docs/soak.md")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
