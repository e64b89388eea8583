"""A soak: `python -m bench.soak [--minutes N] [--instances N] [--seed N]`, or `make soak MINUTES=10`.

Three real nodes, a real Redis, a fault proxy before each, and instances of `manage.py serve` of one deployment, with a
cache smaller than what there is. One writer changes the cluster all the time, users ask all instances for everything,
with a token for all names, with one for some, and with none, and one after the other all kinds of faults come and go,
also of one node alone, by a plan that is printed with its seed.

It fails (exit code 1) when

* a mapping was answered that was not true at its stated age (bench/soak/truth.py says what that means), or a 404 for a
  name that was there;
* a validation told of a field what was not true at its age; a list of fields had values that no document has, or of
  families of which none are gathered; a token got a name that it may not see; a follower of the change feed, who goes
  from one instance to the next, missed a change that is recorded, or got one twice or out of order;
* a request got an unexpected status, no answer, or 503 while the cluster was well; a log has an error; an instance
  ended;
* memory, descriptors, threads or tasks of an instance grew, or its cache went beyond its limits;
* at the end, with nothing wrong any more, an instance doesn't answer exactly what is true.

Results are in .cache/bench/soak.json, the logs of the instances beside it in soak/, and of a run of at least ten
minutes in docs/soak.md.
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
    """The first Ctrl-C or SIGTERM ends everything in order; further ones must not disturb that."""
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
