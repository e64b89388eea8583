"""Why a family is gathered ahead or isn't, in one sentence for people. Pure."""

from cacheapp.demand.demand import Demand
from cacheapp.demand.features import ALL_DAYS, SUCH_DAYS, hour_number, was_asked, weekday
from cacheapp.demand.policy import LEAST_CHANCE, RULE_SECONDS
from cacheapp.demand.state import FEATURES, HOURS, KEPT_DAYS, FamilyDemand
from esassistant.config.model import Predict
from esassistant.units import as_count, as_duration, as_percent

WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
PROFILES = ("hour_of_day", "hour_of_such_days", "hour_of_week")


def reason(demand: Demand, name: str, now: float, mode: Predict) -> str:
    """Say why a known family is gathered ahead or not: when it was asked for, or which feature counts most."""
    family = demand.state.families[name]
    asked = f"Asked for {as_duration(max(0.0, now - family.asked_at))} ago"
    if mode is Predict.OFF:
        return f"{asked}; nothing is gathered ahead."
    if mode is Predict.RULE:
        side = "within" if now - family.asked_at <= RULE_SECONDS else "beyond"
        return f"{asked}, {side} the last {RULE_SECONDS / 3_600:.0f} h."
    chance = demand.chance(name, now)
    verdict = "enough" if chance >= LEAST_CHANCE * family.calls else "too unlikely"
    cost = "call" if family.calls == 1 else "calls"
    strongest = _strongest(demand, name, family, now)
    return (
        f"{as_percent(100 * chance)} likely to be asked for within an hour, {verdict} for "
        f"{family.calls} {cost}: {_said(strongest, family, name, demand, now, asked)}."
    )


def _strongest(demand: Demand, name: str, family: FamilyDemand, now: float) -> str:
    """Return the feature that adds most to the chance; `long_ago` if none adds to it."""
    seen = demand.features(name, family, now)
    parts = zip(FEATURES[1:], demand.state.weights[1:], seen[1:], strict=True)
    weight, feature = max((weight * value, feature) for feature, weight, value in parts)
    return feature if weight > 0 else "long_ago"


def _said(feature: str, family: FamilyDemand, name: str, demand: Demand, now: float, asked: str) -> str:
    """Say in words what a feature means for a family, with its figures."""
    if feature in PROFILES:
        return _hours_said(feature, family, demand.state.hour // HOURS, now)
    if feature == "follows":
        before = [
            other
            for other, at in demand.state.visits
            if other in demand.state.families and name in demand.state.families[other].successors
        ]
        return f"it is often asked for soon after {before[-1]}" if before else _first_lower(asked)
    if feature == "rhythm":
        return f"it is asked for about every {as_duration(family.gap)}, last {as_duration(now - family.asked_at)} ago"
    if feature == "changes":
        return f"its mappings changed {as_count(family.changes)} times lately"
    if feature in ("persons", "agents"):
        share = family.persons if feature == "persons" else family.agents
        return f"{as_percent(100 * share)} of those who ask for it are {feature}"
    if feature == "last_day":
        return f"it was asked for about {as_count(family.last_day)} times in the last day"
    if feature == "weekend":
        return "it is weekend"
    return _first_lower(asked)


def _hours_said(feature: str, family: FamilyDemand, today: int, now: float) -> str:
    """Say on how many of the days that count the family was asked for in this hour, or, in the second half of an hour,
    in the next.
    """
    hour = hour_number(now + 1_800)
    day = hour // HOURS
    backs = range(1, KEPT_DAYS + 1)
    if feature == "hour_of_week":
        days, what = [back for back in backs if back % 7 == 0], WEEKDAYS[weekday(day)]
    elif feature == "hour_of_day":
        days, what = list(backs[:ALL_DAYS]), "days"
    else:
        is_weekend = weekday(day) >= 5
        days = [back for back in backs if (weekday(day - back) >= 5) is is_weekend][:SUCH_DAYS]
        what = "weekend days" if is_weekend else "workdays"
    first = hour_number(family.first_at) // HOURS
    days = [back for back in days if day - back >= first]
    asked = sum(was_asked(family, hour - back * HOURS, today) for back in days)
    start = hour % HOURS
    return f"asked for from {start}:00 to {start + 1}:00 UTC on {asked} of the last {len(days)} {what}"


def _first_lower(text: str) -> str:
    return f"it was {text[:1].lower()}{text[1:]}"
