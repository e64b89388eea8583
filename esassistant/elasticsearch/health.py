"""How the cluster is, and how the pools of connections to it are."""

from collections.abc import Iterable, Mapping

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from esassistant.elasticsearch.client import unavailable
from esassistant.elasticsearch.stats import PoolReport
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Health, PingResult

MANY_PENDING_TASKS = 100
"""So many changes of the cluster's state wait for its master: it is behind."""
CLUSTER_HEALTH = {"green": Health.HEALTHY, "yellow": Health.DEGRADED, "red": Health.UNHEALTHY}


async def ping_cluster(client: AsyncElasticsearch) -> PingResult:
    """Ask the cluster for its health. Never waits for a status; raises `ClusterUnavailable`."""
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
        detail = f"cluster status {status}, {body.get('unassigned_shards')} shards unassigned"
        return PingResult(CLUSTER_HEALTH[status], detail, facts)
    if isinstance(pending, int) and pending > MANY_PENDING_TASKS:
        return PingResult(Health.DEGRADED, f"{pending} tasks wait for the cluster's master", facts)
    return PingResult(Health.HEALTHY, None, facts)


def pools_health(clients: Iterable[Mapping[str, PoolReport]]) -> PingResult:
    """What the pools of all clients say: degraded while a breaker keeps calls from the cluster, or a pool is full. One
    that is half-open, and that nobody asks, keeps nobody away.
    """
    pools = {name: pool for client in clients for name, pool in client.items()}
    stopped = [
        f"the breaker of pool {name} is {pool.breaker.state.value} ({pool.breaker.reason})"
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
