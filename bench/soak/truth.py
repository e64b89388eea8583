"""Record what the cluster's names stood for, and when: the truth that a soak's answers are compared with.

One writer changes the cluster, and nobody else. A change happens at some moment between its sending and its
acknowledgement. In between, both the state before and the state after may be true:

    before   ═══════════════════════════╡ acknowledged
    after              sent ╞══════════════════════════

The allowed answers follow from what the service promises (docs/why.md, "Ages are never understated"). A request is sent
at `s` and its answer has arrived at `r`. In between, at `a`, the service takes the answer from memory and says as `Age`
the whole seconds since `c`, the moment before it sent the question to the cluster that confirmed the oldest part of the
answer. At `m` the cluster answered that question. So

    s ≤ a ≤ r    and    Age = ⌊a - c⌋, so that  c > a - Age - 1    and    c ≤ m ≤ a

    ⇒  s - Age - 1 < m ≤ r

and each mapping in the answer, like each alias's list of indices, was the true one at some such `m`, though not all at
the same one. An answer is wrong when one of its parts can't have been true at any moment of that window. If an age is
given in milliseconds (`/api/indices`), the rounding is a millisecond instead of a second. The age of what another
process published is measured by the clock of the store, which may be slewed: `CLOCKS_SECONDS` allows for that.

A 404 for which the cluster wasn't asked says its age, as other answers do (`age_seconds`). Any other 404 has no age. An
absent name is remembered for MAPPING_CACHE_NEGATIVE_TTL, or for one second (as long as failures of
a flight are remembered) if that is longer. The flight that found it absent was sent at most MAPPING_CACHE_FETCH_TIMEOUT
earlier. So a 404 is wrong if the name surely existed from `s - max(MAPPING_CACHE_NEGATIVE_TTL, 1) -
MAPPING_CACHE_FETCH_TIMEOUT` to `r`.
"""

import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, product

ROUNDING_SECONDS = 1.0
"""The rounding of the header `Age`."""
MILLISECOND = 0.001
CLOCKS_SECONDS = 0.02
REMEMBERED_FAILURE_SECONDS = 1.0
MOST_COMBINATIONS = 4096


@dataclass(frozen=True, slots=True)
class Index:
    """An index whose mapping has that hash, and which therefore has these fields."""

    mapping: str
    fields: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias of these indices; there is at least one."""

    indices: frozenset[str]


State = Index | Alias | None
"""What a name stands for; None: the name doesn't exist."""


@dataclass(slots=True)
class _Span:
    """The time in which a state may have been the true one: from `since` until `until`, in seconds of the clock of
    `Truth`.
    """

    state: State
    since: float
    until: float = math.inf


class Truth:
    """All states that each name ever had. Used by many threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._spans: dict[str, list[_Span]] = {}

    @contextmanager
    def changing(self, states: Mapping[str, State]) -> Iterator[None]:
        """Record a change that the block sends to the cluster and waits for. If the block fails, nobody can tell
        whether the change happened; then the state before stays possible.
        """
        sent_at = self.clock()
        with self._lock:
            opened = {name: _Span(state, sent_at) for name, state in states.items()}
            for name, span in opened.items():
                self._spans.setdefault(name, [_Span(None, -math.inf)]).append(span)
        yield
        acknowledged_at = self.clock()
        with self._lock:
            for name, span in opened.items():
                for before in self._spans[name]:
                    if before is not span:
                        before.until = min(before.until, acknowledged_at)

    def now(self, name: str) -> State:
        """Return what `name` stands for since the last acknowledged change."""
        with self._lock:
            return self._spans[name][-1].state if name in self._spans else None

    def is_index(self, name: str) -> bool:
        """Return whether `name` is that of an index since the last acknowledged change."""
        return isinstance(self.now(name), Index)

    def names(self) -> tuple[str, ...]:
        """Return all names that ever stood for something."""
        with self._lock:
            return tuple(self._spans)

    def possible(self, name: str, since: float, until: float) -> list[State]:
        """Return what `name` may have stood for at any moment of that time, in the order of the changes."""
        with self._lock:
            spans = self._spans.get(name, ())
            return [span.state for span in spans if span.since <= until and span.until >= since] or [None]

    def over_since(self, name: str, state: State) -> float:
        """Return the moment since which `name` surely doesn't stand for `state` any more; infinite while it may still
        do so.
        """
        with self._lock:
            return max((span.until for span in self._spans.get(name, ()) if span.state == state), default=math.inf)


@dataclass(frozen=True, slots=True)
class Window:
    """The time from `since` until `until`, on the clock of `Truth`, at some moment of which an answer
    has to be true.
    """

    since: float
    until: float


def window_of(sent_at: float, received_at: float, age: float, rounding: float = ROUNDING_SECONDS) -> Window:
    """Return the window of an answer that says its `age` in seconds. The true age may be higher by `rounding`."""
    return Window(sent_at - age - rounding - CLOCKS_SECONDS, received_at)


def window_of_absence(sent_at: float, received_at: float, *, negative_ttl: float, fetch_timeout: float) -> Window:
    """Return the window of a 404. The service may remember a missing name for `negative_ttl` seconds."""
    longest = max(negative_ttl, REMEMBERED_FAILURE_SECONDS) + fetch_timeout
    return Window(sent_at - longest - CLOCKS_SECONDS, received_at)


def wrong_mappings(truth: Truth, name: str, mappings: Mapping[str, str], window: Window) -> str | None:
    """Return what is wrong with an answer for `name` with mappings of these hashes, by index; None if nothing is."""
    possible = truth.possible(name, window.since, window.until)
    if mappings.keys() == {name}:
        if Index(mappings[name]) in possible:
            return None
        return f"no index {name} with that mapping then, but {_told(possible)}"
    if Alias(frozenset(mappings)) not in possible:
        return f"{name} was no alias of {', '.join(sorted(mappings)) or 'nothing'} then, but {_told(possible)}"
    for index, mapping in mappings.items():
        found = truth.possible(index, window.since, window.until)
        if Index(mapping) not in found:
            return f"no index {index} with that mapping then, but {_told(found)}"
    return None


def wrong_fields(truth: Truth, name: str, fields: Collection[str], window: Window) -> str | None:
    """Return what is wrong with an answer that `name` has exactly these fields; None if nothing is."""
    if any(frozenset(fields) == each for each in _possible_fields(truth, name, window)):
        return None
    return f"{name} never had those {len(fields)} fields then"


def wrong_finding(truth: Truth, name: str, field: str, *, is_unknown: bool, window: Window) -> str | None:
    """Return what is wrong with a validation that says whether a field is unknown in the index `name`; None if nothing
    is.
    """
    possible = truth.possible(name, window.since, window.until)
    if any(isinstance(state, Index) and (field in state.fields) != is_unknown for state in possible):
        return None
    return f"{field} was {'known' if is_unknown else 'unknown'} all the time: {_told(possible)}"


def wrong_listing(truth: Truth, name: str, mapping: str | None, indices: Iterable[str], window: Window) -> str | None:
    """Return what is wrong with a line of `/api/indices` about `name`; None if nothing is. The line gives the hash of
    the `mapping` of an index, or (if `mapping` is None) the `indices` of an alias.
    """
    listed = Alias(frozenset(indices)) if mapping is None else Index(mapping)
    if listed in (possible := truth.possible(name, window.since, window.until)):
        return None
    return f"{name} was not {listed} then, but {_told(possible)}"


def wrong_absence(truth: Truth, name: str, window: Window) -> str | None:
    """Return what is wrong with a 404 for `name`; None if nothing is."""
    if None in (possible := truth.possible(name, window.since, window.until)):
        return None
    return f"{name} was there all the time: {_told(possible)}"


def _possible_fields(truth: Truth, name: str, window: Window) -> Iterator[frozenset[str]]:
    for state in truth.possible(name, window.since, window.until):
        if isinstance(state, Index):
            yield state.fields
        elif isinstance(state, Alias):
            members = [
                [
                    found.fields
                    for found in truth.possible(index, window.since, window.until)
                    if isinstance(found, Index)
                ]
                for index in state.indices
            ]
            for each in islice(product(*members), MOST_COMBINATIONS):
                yield frozenset().union(*each)


def _told(states: Iterable[State]) -> str:
    return ", ".join("nothing" if state is None else repr(state) for state in states)
