"""Sample the resources that the instances of a soak use, and judge whether they stay flat. Pure, except for the
sampling.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak.access import BEARER
from bench.soak.http import Caller, NoAnswer
from bench.soak.instances import Instance
from cacheapp.cache.kept import UNUSED_SECONDS
from cacheapp.state.answer import MAX_KEPT_BYTES
from dev.servers.process import ProcessError

HOUR = 3600.0
TEN_MINUTES = 600.0
GROWTH_LIMIT = 1.10
"""The highest mean of the last quarter, relative to that of the second quarter."""
SHARE_PER_TEN_MINUTES = 0.05
FEWEST_SAMPLES = 8
SETTLED_SECONDS = 120.0
"""A younger process still opens connections and starts threads."""
CACHES_SETTLED_SECONDS = UNUSED_SECONDS + 60.0
"""A younger process still fills its caches: what was made of mappings that are gone is kept for so long."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of one instance. `at`: when, on the monotonic clock; `is_quiet`: nothing was wrong then, nor a moment
    before.
    """

    at: float
    is_quiet: bool
    rss_bytes: int
    descriptors: int
    threads: int
    tasks: int
    background_tasks: int
    crashes: int
    indices: int
    body_bytes: int
    rendered_bytes: int
    evictions: int


@dataclass(frozen=True)
class Flat:
    """The limits within which a measure counts as flat.

    Without any trend, it varies by `varies`. It may grow by a twentieth in ten minutes; in a process that is younger
    than `settles` seconds, by up to `fills` more. `quiet_only`: faults around the process may raise it, so only quiet
    samples are judged.
    """

    measure: str
    varies: float
    fills: float = 0.0
    settles: float = SETTLED_SECONDS
    quiet_only: bool = False

    def allowed(self, mean: float, seconds: float, age: float) -> float:
        """Return how much it may grow in `seconds`, beginning when the process was `age` seconds old."""
        filling = self.fills * max(0.0, 1 - age / self.settles)
        return self.varies + filling + SHARE_PER_TEN_MINUTES * mean * seconds / TEN_MINUTES


MEASURES = (
    Flat("rss_bytes", 2e6, fills=8e6, settles=CACHES_SETTLED_SECONDS),
    Flat("descriptors", 8, fills=12, quiet_only=True),
    Flat("threads", 4, fills=3, quiet_only=True),
    Flat("tasks", 8, fills=8, quiet_only=True),
    Flat("background_tasks", 0.5),
)


@dataclass(frozen=True)
class Trend:
    """The trend of one measure of one instance. Only the second half of the samples is judged.

    `grew`: the growth of the fitted line from the first to the last judged sample, of which there are `samples`, over
    `seconds`. `mean`: that of the judged samples. `quarters`: the mean of the last quarter of all samples, divided by
    that of the second quarter; None if one of them has no samples.
    """

    measure: str
    samples: int
    seconds: float
    mean: float
    slope_per_hour: float
    grew: float
    allowed: float
    quarters: float | None
    is_judged: bool
    is_flat: bool


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much the second value rises per unit of the first, by least squares; 0 if there are fewer than two
    different moments.
    """
    if len({at for at, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression([at for at, _ in points], [value for _, value in points]).slope


def trend(samples: Sequence[Sample], flat: Flat, shortest_seconds: float) -> Trend:
    """Return the trend in one life of one instance. Its second half is judged, if that is long enough to say
    anything.
    """
    points = [(one.at, float(getattr(one, flat.measure))) for one in samples if one.is_quiet or not flat.quiet_only]
    begins = samples[0].at if samples else 0.0
    length = samples[-1].at - begins if samples else 0.0
    judged = [(at, value) for at, value in points if at >= begins + length / 2]
    seconds = judged[-1][0] - judged[0][0] if judged else 0.0
    mean = statistics.fmean(value for _, value in judged) if judged else 0.0
    per_second = slope(judged)
    grew = per_second * seconds
    allowed = flat.allowed(mean, seconds, judged[0][0] - begins if judged else 0.0)
    quarters = _quarters(points, begins, length)
    is_judged = len(judged) >= FEWEST_SAMPLES and seconds >= shortest_seconds
    # What goes up and down may happen to go up in the second half; then it is no higher than it was before.
    rose = grew if quarters is None else min(grew, quarters[1] - quarters[0])
    is_flat = rose <= allowed and (quarters is None or quarters[1] <= GROWTH_LIMIT * quarters[0] + flat.varies)
    return Trend(
        measure=flat.measure,
        samples=len(judged),
        seconds=seconds,
        mean=mean,
        slope_per_hour=per_second * HOUR,
        grew=grew,
        allowed=allowed,
        quarters=quarters[1] / quarters[0] if quarters is not None and quarters[0] else None,
        is_judged=is_judged,
        is_flat=is_flat or not is_judged,
    )


def _quarters(points: Sequence[tuple[float, float]], begins: float, length: float) -> tuple[float, float] | None:
    """Return the means of the second and of the last quarter."""
    second = [value for at, value in points if begins + length / 4 <= at < begins + length / 2]
    last = [value for at, value in points if at >= begins + 3 * length / 4]
    return (statistics.fmean(second), statistics.fmean(last)) if second and last else None


def over_limits(sample: Sample, *, max_bytes: int, most_indices: int) -> list[str]:
    """Return the limits that a sample exceeds."""
    limits = {
        "indices": (sample.indices, most_indices),
        "bytes of mappings": (sample.body_bytes, max_bytes),
        "bytes of rendered answers": (sample.rendered_bytes, MAX_KEPT_BYTES),
        "crashes of background tasks": (sample.crashes, 0),
    }
    return [f"{value} {name}, of at most {most}" for name, (value, most) in limits.items() if value > most]


class Sampler:
    """Takes samples of one instance; belongs to one thread."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._caller = Caller()

    def sample(self, *, is_quiet: bool) -> Sample | None:
        """Take a sample. Return None if the instance isn't up, or has gone down meanwhile."""
        up_since = self.instance.up_since
        if up_since is None:
            return None
        try:
            reply = self._caller.ask(self.instance.url, "/api/performance", headers=BEARER)
            report: dict[str, Any] = json.loads(reply.body)
            folder = Path(f"/proc/{self.instance.pid}")
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            descriptors = len(list((folder / "fd").iterdir()))
        except (NoAnswer, OSError, ProcessError, ValueError):
            return None
        cache, background = report["mapping_cache"], report["background_tasks"]
        return Sample(
            at=reply.received_at,
            is_quiet=is_quiet,
            rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
            descriptors=descriptors,
            threads=int(status["Threads"]),
            tasks=report["process"]["tasks"],
            background_tasks=sum(task["running"] for task in background),
            crashes=sum(task["crashes_total"] for task in background),
            indices=cache["indices"],
            body_bytes=cache["body_bytes"],
            rendered_bytes=cache["rendered_bytes"],
            evictions=cache["evictions_total"],
        )

    def close(self) -> None:
        self._caller.close()
