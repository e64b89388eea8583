"""What health keeps over restarts in Django's database: transitions and usual durations. Called in a thread."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from esassistant.resource import Health
from healthapp.models import HealthTransition, KeptUsual
from healthapp.monitor import KEPT_TRANSITIONS, Transition
from healthapp.usual import Usual

KEPT_ROWS = 1_000


def load_transitions() -> list[Transition]:
    """Return the latest transitions, newest first; none if somebody has edited a date so that it can't be read."""
    known = {health.value: health for health in Health}
    try:
        rows = list(HealthTransition.objects.filter(after__in=known).order_by("-pk")[:KEPT_TRANSITIONS])
    except (ValueError, TypeError, OverflowError):
        return []
    return [
        Transition(
            row.at,
            row.service,
            known.get(row.before or ""),
            known[row.after],
            row.reason or None,
        )
        for row in rows
        if isinstance(row.at, datetime)
    ]


def write_transitions(transitions: Sequence[Transition], instance: str, kept: int = KEPT_ROWS) -> None:
    """Add transitions, oldest first, and drop the oldest rows beyond `kept`."""
    HealthTransition.objects.bulk_create(
        HealthTransition(
            at=transition.at,
            service=transition.service[:200],
            before=None if transition.before is None else transition.before.value,
            after=transition.after.value,
            reason=transition.reason or "",
            instance=instance,
        )
        for transition in transitions
    )
    first_kept = HealthTransition.objects.order_by("-pk").values_list("pk", flat=True)[kept - 1 : kept].first()
    if first_kept is not None:
        HealthTransition.objects.filter(pk__lt=first_kept).delete()


def load_usual() -> dict[str, Usual]:
    """Return the usual durations by kind, without rows that can't be read."""
    found: dict[str, Usual] = {}
    for row in KeptUsual.objects.all():
        try:
            found[row.kind] = msgspec.json.decode(row.usual, type=Usual)
        except msgspec.MsgspecError:
            continue
    return found


def write_usual(usual: Mapping[str, Usual]) -> None:
    """Replace all stored usual durations."""
    KeptUsual.objects.exclude(kind__in=list(usual)).delete()
    KeptUsual.objects.bulk_create(
        (KeptUsual(kind=kind, usual=msgspec.json.encode(one).decode()) for kind, one in usual.items()),
        update_conflicts=True,
        unique_fields=["kind"],
        update_fields=["usual"],
    )
