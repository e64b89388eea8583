"""What the commands of all benches share: `--json`, when they began, and how they keep what they found."""

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
    """Options of `python -m bench.<bench>`, which starts with the one that all have."""
    made = argparse.ArgumentParser(
        prog=f"python -m bench.{bench}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    file = f"{bench}.json"
    made.add_argument("--json", type=Path, default=CACHE / file, help=f"default: .cache/bench/{file}")
    return made


@dataclass(frozen=True)
class Started:
    """When a bench began."""

    at: str = field(default_factory=lambda: now_utc().isoformat())
    moment: float = field(default_factory=monotonic)

    def facts(self) -> dict[str, Any]:
        """For `save`: when it began, and how long it has taken."""
        return {"started_at": self.at, "seconds": round(monotonic() - self.moment, 1)}


def exit_code_of(run: Callable[[], None]) -> int:
    """Run a bench; SIGTERM ends it as Ctrl-C does, once its servers have ended. Returns what the process exits with."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:
        return 130
    return 0


def save(path: Path, **results: Any) -> None:
    """Keep what a bench found as JSON; there may be lines in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False, default=Line.as_json))
