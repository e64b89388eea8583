"""Errors about mappings, as callers see them."""

from collections.abc import Sequence

from esassistant.errors import BadRequest, ClusterUnavailable, EsassistantError, ProblemType

SHOWN_NAMES = 5
SHOWN_CHARACTERS = 200


class IllegalName(BadRequest):
    """The name can't be the name of an index, alias or data stream, and is not sent to the cluster."""

    title = "Illegal name"
    problem_type = ProblemType(
        "illegal-name",
        "No index, alias or data stream can have this name, so Elasticsearch isn't asked for it.",
        "`detail` says what is wrong with the name.",
    )


class MappingNotFound(EsassistantError):
    """No index, alias or data stream of that name exists."""

    status = 404
    title = "No such index"
    problem_type = ProblemType(
        "no-such-index",
        "No index, alias or data stream has this name, or this service doesn't cover it.",
        "`did_you_mean`, where it is given, has names like it; `/api/indices` lists all. One that was created a moment "
        "ago is known within seconds. `age_seconds`, where it is given, says how long ago the cluster confirmed the "
        "names in memory: then it wasn't asked again.",
    )

    def __init__(self, detail: str, name: str | None = None) -> None:
        """Make the error. `name`: the name that isn't there, or the list or pattern that matches nothing."""
        super().__init__(detail)
        self.name = name

    def meaning(self, names: Sequence[str]) -> "MappingNotFound":
        """Return a copy of this error for one caller, to whom `names` are suggested. A copy, because many callers may
        wait for one read and get the same error.
        """
        error = MappingNotFound(self.detail, self.name)
        error.members = {**self.members, "did_you_mean": list(names)} if names else self.members
        return error

    def known_for(self, seconds: float) -> "MappingNotFound":
        """Return a copy of this error that says how many seconds ago the cluster confirmed it."""
        error = MappingNotFound(self.detail, self.name)
        error.members = {**self.members, "age_seconds": round(max(0.0, seconds), 3)}
        return error


def no_such_name(name: str) -> MappingNotFound:
    """Return the error for a name that the cluster doesn't know."""
    return MappingNotFound(f"There is no index, alias or data stream named {name!r}.", name)


def nothing_matches(expression: str, closed: Sequence[str] = ()) -> MappingNotFound:
    """Return the error for a list or pattern that matches nothing. `closed`: the closed indices that match, which
    patterns leave out.
    """
    shown = ", ".join(closed[:SHOWN_NAMES]) + (" …" if len(closed) > SHOWN_NAMES else "")
    hint = (
        f"What matches is closed ({shown}): ask for it by its exact name."
        if closed
        else "Hidden names need a pattern with a dot at its beginning, or their exact name; GET /api/indices lists all."
    )
    shown_text = expression[:SHOWN_CHARACTERS]
    return MappingNotFound(f"No index, alias or data stream matches {shown_text!r}. {hint}", expression)


class TooMuch(BadRequest):
    """A list or pattern stands for more than is answered or sent at once; the detail says how to narrow it."""

    title = "Too much at once"
    problem_type = ProblemType(
        "too-much-at-once",
        "The list of names, or the pattern, stands for more than one answer may hold or one search may be sent to.",
        "`detail` says how much it stands for, and how to narrow it: by a longer pattern, or by `-x` after it.",
    )


class NotCovered(MappingNotFound):
    """Elasticsearch denies this service a name, and doesn't say whether it exists.

    `denial` says which privilege is missing; callers get it instead if the name is known to exist.
    """

    def __init__(self, name: str, denial: ClusterUnavailable) -> None:
        self.denial = denial
        super().__init__(
            f"There is no index, alias or data stream named {name!r}, or this service's role in Elasticsearch doesn't "
            "cover it.",
            name,
        )


class NotWarm(ClusterUnavailable):
    """What is needed for the answer isn't in memory now. Mostly no pass has ended yet; or mappings were evicted, or are
    too old.
    """

    title = "No mappings yet"
    problem_type = ProblemType(
        "no-mappings-yet",
        "The mappings for the answer are not in memory. Mostly the first pass over the cluster has not ended yet.",
        "Ask again after the seconds in `Retry-After`. While it lasts, `/api/health` says why.",
    )


class BadSearch(BadRequest):
    """The search is not allowed here, or Elasticsearch refused it; the detail says why."""

    title = "Bad search"
    problem_type = ProblemType(
        "bad-search",
        "The search has something that isn't permitted here, or Elasticsearch refused it.",
        "`detail` says which part, and why. `POST /api/mappings/{name}/validate` finds mistakes without searching.",
    )


class SearchHasErrors(BadSearch):
    """Validation found an error in the search, and the caller wants such searches refused."""

    title = "Search has errors"
    problem_type = ProblemType(
        "search-has-errors",
        "The search has an error, and `?validate=refuse` was given, so it was not sent to Elasticsearch.",
        "`findings` has all that is wrong, each with the place in the search and what was probably meant.",
    )

    def __init__(self, detail: str, findings: Sequence[object]) -> None:
        """Make the error. `findings`: all findings, as a validation answers them."""
        super().__init__(detail)
        self.members = {"findings": findings}


class WatchRefused(EsassistantError):
    """The cluster doesn't let this service wait for changes of its metadata; only full passes find changes then."""


class VersionsRefused(EsassistantError):
    """The cluster doesn't let this service read the versions of its mappings."""


class RefreshNotFound(EsassistantError):
    """No refresh of that id is known to this process; only the latest are kept."""

    status = 404
    title = "No such refresh"
    problem_type = ProblemType(
        "no-such-refresh",
        "No refresh has this id, or it is forgotten: only the latest are kept.",
        "`refresh.last` of `/api/cache/stats` has the result of the last one.",
    )


class RateLimited(EsassistantError):
    """Full passes were asked for more often than `MIN_REFRESH_INTERVAL` permits."""

    status = 429
    title = "Refreshed a moment ago"
    problem_type = ProblemType(
        "refreshed-a-moment-ago",
        "All mappings were read a moment ago, or another process reads them now. Between two such passes there are at "
        "least the seconds of `MIN_REFRESH_INTERVAL`.",
        "Ask again after the seconds in `Retry-After`. `?index=` reads one name at any time.",
    )


class ChangesGone(EsassistantError):
    """The changes after an id are not kept any more, or this history has no such id."""

    status = 410
    title = "Changes gone"
    problem_type = ProblemType(
        "changes-gone",
        "Some of the changes after the id in `since` are not kept any more: the newest 10,000 are. Or there is no such "
        "id in this history, as the database was set up anew, or is another one.",
        "Read what there is now, and go on with the `since` that the detail names; `oldest_id` is the oldest that is "
        "kept.",
    )

    def __init__(self, since: int, oldest_id: int | None, last_id: int, *, of_another: bool = False) -> None:
        """Make the error. `since`: the id that was given. `of_another`: it came with the name of another history than
        this one.
        """
        first = last_id if oldest_id is None else oldest_id - 1
        self.go_on_with = first
        why = (
            f"This history ends with id {last_id}: id {since} is of another one."
            if of_another or since > last_id
            else f"Not all changes after id {since} are kept any more: "
            + ("none is." if oldest_id is None else f"the oldest is {oldest_id}.")
        )
        super().__init__(
            f"{why} Read what there is now (GET /api/mappings/{{name}}, /api/indices), and go on with since={first}, "
            "or without since for all that is kept."
        )
        self.members = {"oldest_id": oldest_id, "last_id": last_id}
