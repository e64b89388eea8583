"""Failed logins: counts them in the store for all processes of the deployment, logs them, and reports them.

If the store can't be reached, each process counts for itself: a login must not depend on the store.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from django.conf import settings
from django.contrib.auth.signals import user_logged_in

from esassistant.advice import Advice, Recommendation
from esassistant.asgi_types import Scope
from esassistant.clock import Clock, Sleep, monotonic
from esassistant.errors import EsassistantError, ProblemType, StoreUnavailable
from esassistant.http.failed_logins import (
    PER_ADDRESS,
    PER_NAME_AND_ADDRESS,
    WINDOW_SECONDS,
    Attempt,
    Verdict,
    attempt_of,
    begun,
    client_address,
    names_another,
    taken_back,
    whole_seconds,
)
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle
from esassistant.shared_values import MemoryValues, SharedValues, Values
from esassistant.units import as_duration

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOTE: Final = "esassistant.login"
SAID_EVERY_SECONDS: Final = 60.0
LINES_AT_ONCE: Final = 5
"""How many failed logins per minute are logged with their own line; one more line says how many others there were."""
REMEMBERED_SECONDS: Final = 10.0
"""For how long a refusal is repeated without asking the store again."""
MAX_REMEMBERED: Final = 4096


class TooManyFailedLogins(EsassistantError):
    """So many logins have failed that no password is checked for a while."""

    status = 429
    title = "Too many failed logins"
    problem_type = ProblemType(
        "too-many-failed-logins",
        "So many logins of a name or from an address have failed that no password is checked for a while.",
        "Try again after the seconds in `Retry-After`, or from another address. API tokens work meanwhile.",
    )


@dataclass(frozen=True, slots=True)
class LoginsReport:
    """Logins since the start of this process. `refused_total`: no password was checked, as too many had failed before.
    `slowed_total`: the password was checked after a wait. `unshared_total`: they were counted for this process alone,
    as the store could not be reached. `proxy`: the address of a proxy that logins come from and that we don't trust;
    None if there is none.
    """

    failed_total: int
    refused_total: int
    slowed_total: int
    unshared_total: int
    proxy: str | None


LOGIN_METRICS = (
    Metric(Kind.COUNTER, "failed_logins", "Logins that failed: a wrong name or password.", "failed_total"),
    Metric(
        Kind.COUNTER,
        "refused_logins",
        "Logins refused without a look at the password: too many failed before.",
        "refused_total",
    ),
    Metric(Kind.COUNTER, "slowed_logins", "Logins made to wait, as too many of that name failed.", "slowed_total"),
    Metric(
        Kind.COUNTER,
        "unshared_logins",
        "Logins counted by one process alone, as the store could not be asked.",
        "unshared_total",
    ),
)


def login_rules(logins: LoginsReport) -> Iterable[Advice]:
    """Give the advice for logins: a proxy that isn't trusted hides the addresses of clients."""
    if logins.proxy is None:
        return ()
    why = (
        f"Logins come from {logins.proxy} in the name of other clients, as from a proxy that isn't believed: so nobody "
        f"is refused there, however many passwords are tried. If it is your proxy, start with `serve "
        f"--forwarded-allow-ips {logins.proxy}`."
    )
    return (Recommendation("logins.proxy", 1, 0, 1, "proxies", why, None),)


@dataclass(slots=True)
class LoginNote:
    """Lies in the ASGI scope of a login under way. Django's signal sets `succeeded`, in another thread."""

    succeeded: bool = False


def note_success(request: Any, **_: object) -> None:
    """Note that a login has succeeded. Django calls this with its signal `user_logged_in`."""
    note = getattr(request, "scope", {}).get(NOTE)
    if note is not None:
        note.succeeded = True


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that was judged. `values`: the store in which it is counted."""

    attempt: Attempt
    verdict: Verdict
    shown_address: str
    values: SharedValues


class Logins:
    """Counts the failed logins. One per process; belongs to the loop that serves."""

    def __init__(self, clock: Clock = monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._own = MemoryValues(clock)
        self._store: SharedValues | None = None
        self._unshared_total = 0
        self._failed_total = 0
        self._refused_total = 0
        self._slowed_total = 0
        self._proxy: str | None = None
        self._forwarding_said = False
        self._refused: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lines = 0
        self._unsaid = 0

    def report(self) -> LoginsReport:
        return LoginsReport(
            self._failed_total, self._refused_total, self._slowed_total, self._unshared_total, self._proxy
        )

    @contextmanager
    def shared_by(self, store: SharedValues) -> Iterator[None]:
        """Count failed logins in `store` during the block, together with the other processes."""
        self._store = store
        try:
            yield
        finally:
            self._store = None

    def attempt(self, scope: Scope, name: str) -> tuple[Attempt, str]:
        """Return the attempt that a request makes, and its address as the log shows it."""
        client = scope.get("client")
        address = client_address(client[0] if client else None)
        is_proxy = False
        if address is not None and names_another(address, scope["headers"]):
            # A public address counts as that of a client: otherwise a forged header would be enough to escape the
            # limits.
            is_proxy = not address.is_global
            self._say_forwarding(str(address), is_proxy=is_proxy)
        shown = "an unknown address" if address is None else str(address)
        return attempt_of(name, address, settings.SECRET_KEY, is_proxy=is_proxy), shown

    def _say_forwarding(self, address: str, *, is_proxy: bool) -> None:
        if is_proxy and self._proxy is None:
            self._proxy = address
        if self._forwarding_said:
            return
        self._forwarding_said = True
        logger.warning(
            "a login comes from %s in the name of another client, which is not believed: %s. If that is your proxy, "
            "start with `serve --forwarded-allow-ips %s`",
            address,
            "nobody is refused there, however many fail" if is_proxy else "all who come from there count as one client",
            address,
        )

    def refused_seconds(self, attempt: Attempt) -> float | None:
        """Return for how long an attempt is refused, as far as this process remembers. Return None if the store must be
        asked.
        """
        now = self._clock()
        waits = [
            until - now
            for key in (attempt.pair, attempt.address)
            for until, asked_again_at in (self._refused.get(key, (0.0, 0.0)),)
            if now < min(until, asked_again_at)
        ]
        if attempt.is_nobodys or not waits:
            return None
        self._refused_total += 1
        return max(waits)

    async def begin(self, attempt: Attempt, shown_address: str) -> Begun:
        """Judge an attempt, and count it as failed until `end` is called."""
        values, verdict = await self._changed(attempt.buckets(), lambda values, now: begun(values, attempt, now))
        if verdict.refused_seconds is not None:
            self._refused_total += 1
            self.remember(attempt, verdict, verdict.refused_seconds)
        elif verdict.is_slowed:
            self._slowed_total += 1
        return Begun(attempt, verdict, shown_address, values)

    def remember(self, attempt: Attempt, verdict: Verdict, seconds: float) -> None:
        """Refuse an attempt for `seconds`, at first without asking the store."""
        is_full = verdict.address_failures >= PER_ADDRESS
        now = self._clock()
        self._refused[attempt.address if is_full else attempt.pair] = (
            now + seconds,
            now + REMEMBERED_SECONDS,
        )
        while len(self._refused) > MAX_REMEMBERED:
            self._refused.popitem(last=False)

    async def end(self, begun: Begun, *, succeeded: bool, failed: bool) -> None:
        """Note how an attempt ended. If neither `succeeded` nor `failed` is True, its password was not checked."""
        if failed and not succeeded:
            self._failed_total += 1
            self._say_failed(begun)
            return
        await self._change_in(
            begun.values,
            begun.attempt.buckets(),
            lambda values, now: taken_back(values, begun.attempt, begun.verdict.at, now, succeeded=succeeded),
        )

    async def _changed(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]]
    ) -> tuple[SharedValues, T]:
        """Return the store in which the values were changed, and the result of `function`."""
        store = self._store
        if store is not None:
            with suppress(StoreUnavailable):
                return store, await store.change(names, function, WINDOW_SECONDS)
        self._unshared_total += 1
        return self._own, await self._own.change(names, function, WINDOW_SECONDS)

    async def _change_in(
        self, values: SharedValues, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]]
    ) -> None:
        try:
            await values.change(names, function, WINDOW_SECONDS)
        except StoreUnavailable:
            self._unshared_total += 1  # it stays counted there as failed, for 15 minutes

    def _say_failed(self, begun: Begun) -> None:
        if self._lines >= LINES_AT_ONCE:
            self._unsaid += 1
            return
        self._lines += 1
        # The name isn't logged: it may be a password that was typed into the wrong field.
        if begun.attempt.is_nobodys:
            logger.warning("failed login from %s", begun.shown_address)
            return
        logger.warning(
            "failed login from %s: %d of %d for this name and address, %d of %d for this address, in 15 minutes",
            begun.shown_address,
            begun.verdict.pair_failures,
            PER_NAME_AND_ADDRESS,
            begun.verdict.address_failures,
            PER_ADDRESS,
        )

    async def keep_saying(self) -> None:
        """Background task: log once a minute how many failed logins had no line of their own."""
        while True:
            await self._sleep(SAID_EVERY_SECONDS)
            self.say_unsaid()

    def say_unsaid(self) -> None:
        """Log how many failed logins had no line of their own, and begin the next minute."""
        if self._unsaid:
            logger.warning(
                "%d more failed logins in the last minute; %d since the start, %d refused, %d slowed",
                self._unsaid,
                self._failed_total,
                self._refused_total,
                self._slowed_total,
            )
        self._lines = self._unsaid = 0


def refusal_of(seconds: float) -> TooManyFailedLogins:
    """Return the error for a login that is refused."""
    return TooManyFailedLogins(
        f"Too many logins failed. Try again in {as_duration(whole_seconds(seconds))}.", retry_after_seconds=seconds
    )


@cache
def logins() -> Logins:
    """Return the logins of this process."""
    user_logged_in.connect(note_success, dispatch_uid=NOTE)
    return Logins()


LOGINS: Handle[Logins] = Handle("logins")
LOGINS_REPORT: ReportHandle[LoginsReport] = ReportHandle("logins")
