"""The health of the cluster, and of the pools of connections to it."""

import logging
import math
from collections.abc import Iterable, Mapping

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from esassistant.clock import Clock, monotonic
from esassistant.elasticsearch.answers import AnswerKind, failure_kind, missing_privilege
from esassistant.elasticsearch.client import unavailable
from esassistant.elasticsearch.stats import PoolReport
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Health, PingResult

logger = logging.getLogger(__name__)

MANY_PENDING_TASKS = 100
"""If more changes of the cluster state than this wait for the master, the cluster can't keep up."""
REFUSED_SECONDS = 600.0
"""How long to wait before asking again a cluster that refused to tell its health: somebody may have
permitted it since.
"""
NO_NAMES = "/_resolve/index/X*"
"""Finds nothing, as no index name has capitals. It is permitted to everybody who may see mappings, and exists on
serverless too.
"""
CLUSTER_HEALTH = {"green": Health.HEALTHY, "yellow": Health.DEGRADED, "red": Health.UNHEALTHY}


class ClusterPing:
    """Asks the cluster for its health. One per process.

    If the cluster refuses that (no privilege `monitor`, or serverless), it checks instead whether the cluster answers
    the calls that this service needs.
    """

    def __init__(self, client: AsyncElasticsearch, *, clock: Clock = monotonic) -> None:
        self._client = client
        self._clock = clock
        self._asked_again_at = -math.inf
        self._missing: str | None = None

    async def __call__(self) -> PingResult:
        """Ping the cluster. If it refuses to tell its health, ask it for the names of no indices instead, which needs
        fewer privileges. Raises `ClusterUnavailable` if the cluster doesn't answer or refuses even that.
        """
        if self._missing is None or self._clock() >= self._asked_again_at:
            try:
                result = await ping_cluster(self._client)
            except ClusterUnavailable as error:
                self._note_refusal(error)
            else:
                self._missing = None
                return result
        try:
            await self._client.perform_request("GET", NO_NAMES, headers={"accept": "application/json"})
        except (ApiError, TransportError) as error:
            raise unavailable(error) from error
        return PingResult(Health.HEALTHY, None, {"status": "unknown", "missing": self._missing})

    def _note_refusal(self, error: ClusterUnavailable) -> None:
        """Log once which privilege is missing, and what that means. Raises `error` again if it isn't a refusal."""
        cause, kind = error.__cause__, failure_kind(error.__cause__)
        if not isinstance(cause, ApiError) or kind is None or not kind.is_refusal:
            raise error
        missing = f"cluster health (status {cause.status_code})"
        if kind is AnswerKind.DENIED:
            missing = missing_privilege(cause.body)
        if missing != self._missing:
            logger.warning(
                "Elasticsearch doesn't tell its health, missing: %s. Health says whether it answers, its status is "
                "unknown, and red or yellow isn't noticed.",
                missing,
            )
        self._missing = missing
        self._asked_again_at = self._clock() + REFUSED_SECONDS


async def ping_cluster(client: AsyncElasticsearch) -> PingResult:
    """Ask the cluster for its health, without waiting for a certain status. Raise `ClusterUnavailable` if it refuses,
    doesn't answer, or answers something else.
    """
    try:
        answer = await client.cluster.health(
            filter_path="status,number_of_nodes,unassigned_shards,number_of_pending_tasks"
        )
    except (ApiError, TransportError) as error:
        raise unavailable(error) from error
    body = answer.body
    if not isinstance(body, dict) or body.get("status") not in CLUSTER_HEALTH:
        raise ClusterUnavailable("Elasticsearch answered something else than its health.")
    status, pending = body["status"], body.get("number_of_pending_tasks")
    facts = {
        "status": status,
        "nodes": body.get("number_of_nodes"),
        "unassigned_shards": body.get("unassigned_shards"),
        "pending_tasks": pending,
    }
    if status != "green":
        unassigned = body.get("unassigned_shards")
        shards = "shard" if unassigned == 1 else "shards"
        return PingResult(CLUSTER_HEALTH[status], f"cluster status {status}, {unassigned} {shards} unassigned", facts)
    if isinstance(pending, int) and pending > MANY_PENDING_TASKS:
        return PingResult(Health.DEGRADED, f"{pending} tasks wait for the cluster's master", facts)
    return PingResult(Health.HEALTHY, None, facts)


def pools_health(clients: Iterable[Mapping[str, PoolReport]]) -> PingResult:
    """Return the health of all pools of all clients. It is degraded while a breaker refuses calls, or a pool is full.

    A half-open breaker that nobody calls refuses nobody.
    """
    pools = {name: pool for client in clients for name, pool in client.items()}
    stopped = [
        f"the breaker of pool {name} pauses its calls ({pool.breaker.reason})"
        for name, pool in pools.items()
        if pool.breaker is not None and pool.breaker.refuses
    ]
    full = [
        f"pool {name} is full ({pool.in_use + pool.overflow_in_use} in use, {pool.waiting} waiting)"
        for name, pool in pools.items()
        if pool.waiting or pool.in_use + pool.overflow_in_use > pool.max_connections
    ]
    facts = {
        "in_use": sum(pool.in_use + pool.overflow_in_use for pool in pools.values()),
        "waiting": sum(pool.waiting for pool in pools.values()),
        "open_breakers": len(stopped),
    }
    if not stopped and not full:
        return PingResult(Health.HEALTHY, None, facts)
    return PingResult(Health.DEGRADED, "; ".join(stopped + full), facts)
