"""A Redis Cluster of three primaries on this machine: real servers that have met and shared the slots among them."""

from pathlib import Path

from redis import Redis

from harness.processes import free_port, wait_for
from harness.redis_server import RedisServer

SLOTS = 16_384
NODES = 3


class LocalCluster:
    """Started by the constructor."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [ClusterNode(directory / str(number)) for number in range(NODES)]
        clients = [Redis(port=node.port) for node in self.nodes]
        bounds = [SLOTS * number // NODES for number in range(NODES + 1)]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port, node.bus_port)
        for client in clients:
            wait_for(lambda client=client: client.cluster("INFO")["cluster_state"] == "ok", "the cluster's agreement")
            client.close()

    @property
    def url(self) -> str:
        return f"{self.nodes[0].url}?cluster=true&node=127.0.0.1:{self.nodes[1].port}"

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class ClusterNode(RedisServer):
    """Its bus has a port of its own choice: the usual one, 10,000 higher, may be none."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.bus_port = free_port()
        super().__init__(
            directory,
            cluster_enabled="yes",
            cluster_port=str(self.bus_port),
            cluster_config_file="nodes.conf",
            cluster_node_timeout="5000",
            cluster_require_full_coverage="no",
        )
