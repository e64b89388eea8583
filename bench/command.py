"""The common part of all benches' commands: `--json`, the time of the start, and how results are kept."""

import argparse
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report.lines import Line
from bench.subjects.cluster import CACHE
from esassistant.clock import monotonic, now_utc


def parser(bench: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the options of `python -m bench.<bench>`; it has the one option that all benches have."""
    made = argparse.ArgumentParser(
        prog=f"python -m bench.{bench}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    file = f"{bench}.json"
    made.add_argument("--json", type=Path, default=CACHE / file, help=f"default: .cache/bench/{file}")
    return made


@dataclass(frozen=True)
class Started:
    """The moment at which a bench began."""

    at: str = field(default_factory=lambda: now_utc().isoformat())
    moment: float = field(default_factory=monotonic)

    def facts(self) -> dict[str, Any]:
        """Return what `save` needs: when the bench began, and how long it has taken so far."""
        return {"started_at": self.at, "seconds": round(monotonic() - self.moment, 1)}


def exit_code_of(run: Callable[[], None]) -> int:
    """Run a bench, and return the exit code of the process. SIGTERM ends the bench as Ctrl-C does, after its servers
    have ended.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:
        return 130
    return 0


def save(path: Path, **results: Any) -> None:
    """Keep as JSON what a bench found. Objects of `Line` are written too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False, default=Line.as_json))
