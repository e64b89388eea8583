"""The results that `python -m bench` keeps: docs/benchmarks.json, from which the report is made."""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.report.document import document, images, readme_block, with_readme_block
from dev.elasticsearch.node import DEFAULT_VERSION

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
FILE, DOCUMENT, IMAGES = "benchmarks.json", "benchmarks.md", "images"


def machine() -> dict[str, str]:
    """Return the facts about the machine that figures depend on, before anything runs. Nothing in them identifies the
    machine.
    """
    return {
        "processors": f"{os.cpu_count()} of {_processor()}",
        "python": f"{platform.python_version()}, {platform.system()}",
        "elasticsearch": f"{DEFAULT_VERSION}, one node on the same machine",
        "load before": f"{os.getloadavg()[0]:.1f} processes (average of a minute)",
        "load generator": "wrk" if shutil.which("wrk") else "bundled (bench/load)",
    }


def _processor() -> str:
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def slim(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a bench saved, without the details that are only for its own JSON."""
    return {name: value for name, value in saved.items() if name != "details"}


def merged(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of a run, completed with those of an earlier run for benches that it didn't measure. Each
    bench keeps its date.

    If one of the two is a quick run, nothing is taken over, because its figures can't be compared with those of a full
    run. If the earlier run measured more benches, the machine and the date of the whole are those of the earlier run.
    """
    if before.get("quick") or now.get("quick"):
        return dict(now)
    kept = {bench: found for bench, found in before.get("benches", {}).items() if bench not in now["benches"]}
    whole = before if len(kept) > len(now["benches"]) else now
    return {**whole, "benches": {**kept, **now["benches"]}}


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write the results and all that is made from them, except the README."""
    pictures = folder / IMAGES
    pictures.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    (folder / DOCUMENT).write_text(document(results))
    for name, image in images(results).items():
        (pictures / name).write_text(image)


def write_readme(results: Mapping[str, Any]) -> None:
    README.write_text(with_readme_block(README.read_text(), readme_block(results)))


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / FILE).read_text())
    return found
