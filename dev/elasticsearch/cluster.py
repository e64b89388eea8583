"""A real cluster of several nodes, for tests and for trying out what happens if one of them fails."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from elasticsearch import ApiError, Elasticsearch, TransportError

from dev.elasticsearch.install import DEFAULT_VERSION
from dev.elasticsearch.node import Node
from dev.ports import HOST, free_port
from dev.servers.process import wait_until

START_SECONDS = 240.0
"""How long a start may take: three nodes at once take more than three times as long as one."""
QUICK_DETECTION = {
    "cluster.publish.timeout": "5s",
    "cluster.fault_detection.follower_check.timeout": "3s",
    "cluster.fault_detection.leader_check.timeout": "3s",
}
"""With these settings, a node that hangs is noticed in about a third of the usual time, which tests wait for."""


class Cluster:
    """Nodes that elect a master among themselves. Started and ended as a context manager.

    Attributes:
        nodes: The nodes. Each of them may be killed, stopped and started again.
    """

    def __init__(self, data: Path, *, size: int = 3, version: str = DEFAULT_VERSION, heap: str = "300m") -> None:
        """Make a cluster; the block starts it. `data`: a folder, in which each node gets a folder of its own."""
        transport_ports = [free_port() for _ in range(size)]
        names = [f"n{number}" for number in range(1, size + 1)]
        self.nodes = tuple(
            Node(
                data / name,
                version=version,
                heap=heap,
                settings={
                    "cluster.name": "esassistant-several",
                    "node.name": name,
                    "discovery.type": "multi-node",
                    "discovery.seed_hosts": ",".join(f"{HOST}:{port}" for port in transport_ports),
                    "cluster.initial_master_nodes": ",".join(names),
                    "transport.port": str(transport_port),
                    "action.destructive_requires_name": "false",
                    **QUICK_DETECTION,
                },
            )
            for name, transport_port in zip(names, transport_ports, strict=True)
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ThreadPoolExecutor(len(self.nodes)) as threads:  # at once: an election needs several
            list(threads.map(lambda node: node.start(START_SECONDS), self.nodes))
        for node in self.nodes:
            self._stack.callback(node.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_until_whole(self, seconds: float = 60.0) -> None:
        """Return when all nodes answer, know of each other, and have every copy of every index. Raise `AssertionError`
        if that takes longer than `seconds`.
        """
        wait_until(lambda: all(self._is_joined(node, "green") for node in self.nodes), seconds)

    def wait_until_joined(self, seconds: float = 60.0) -> None:
        """Return when all nodes answer and know of each other, whether or not they have every copy yet. Raise
        `AssertionError` if that takes longer than `seconds`.
        """
        wait_until(lambda: all(self._is_joined(node, "green", "yellow") for node in self.nodes), seconds)

    def _is_joined(self, node: Node, *statuses: str) -> bool:
        with Elasticsearch(node.url, request_timeout=5, max_retries=0) as client:
            try:
                health = client.cluster.health(wait_for_nodes=str(len(self.nodes)), timeout="1s")
            except (ApiError, TransportError):
                return False
        return not health["timed_out"] and health["status"] in statuses

    def master(self, asked: Node) -> Node | None:
        """Return the node that is the master, according to the node `asked`; None if there is none at the moment."""
        with Elasticsearch(asked.url, request_timeout=10) as client:
            state = client.cluster.state(metric=["master_node", "nodes"], local=True)
        name = state["nodes"][state["master_node"]]["name"] if state.get("master_node") else None
        return next((node for node in self.nodes if node.settings["node.name"] == name), None)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(node.url for node in self.nodes)
