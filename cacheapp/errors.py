"""What can go wrong with mappings, as callers see it."""

from esassistant.errors import BadRequest, ClusterUnavailable, EsassistantError


class IllegalName(BadRequest):
    """The name can't be one of an index, alias or data stream; it is never sent to the cluster."""

    title = "Illegal name"


class MappingNotFound(EsassistantError):
    """No index, alias or data stream of that name exists."""

    status = 404
    title = "No such index"


def no_such_name(name: str) -> MappingNotFound:
    """For a name that the cluster doesn't know."""
    return MappingNotFound(f"There is no index, alias or data stream named {name!r}.")


class NotCovered(MappingNotFound):
    """Elasticsearch denies us a name, and doesn't say whether it is there. `denial` says which privilege is missing:
    what callers get where the name is known to be there.
    """

    def __init__(self, name: str, denial: ClusterUnavailable) -> None:
        self.denial = denial
        super().__init__(
            f"There is no index, alias or data stream named {name!r}, or this service's role in Elasticsearch doesn't "
            "cover it."
        )


class NotWarm(ClusterUnavailable):
    """The cluster has not been read yet, and no other instance published what it read."""

    title = "No mappings yet"


class BadSearch(BadRequest):
    """The search is not one that may be made here, or Elasticsearch refused it; the detail says why."""

    title = "Bad search"


class WatchRefused(EsassistantError):
    """The cluster doesn't let us wait for changes of its metadata; full passes alone find them."""


class VersionsRefused(EsassistantError):
    """The cluster doesn't tell us the versions of its mappings."""


class RefreshNotFound(EsassistantError):
    """No refresh of that id is known to this process; only the latest are kept."""

    status = 404
    title = "No such refresh"


class RateLimited(EsassistantError):
    """Full passes were asked for more often than `MIN_REFRESH_INTERVAL` permits."""

    status = 429
    title = "Refreshed a moment ago"
