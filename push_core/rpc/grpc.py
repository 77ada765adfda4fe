"""The internal RPC over gRPC: one connection per peer; a cluster key, a version and a deadline on every call;
certificates of both sides where they are set.

The hard part is to say truly what a failed call did. `Unavailable` promises "nothing was done" and is said only when the request can't have
reached a handler: no connection came about, or the server refused before it looked at the call. gRPC's own UNAVAILABLE covers both that and a
connection lost half-way (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md), so the connection is made
ready first, and whatever goes wrong after that is `DeadlineExceeded`: unknown.
"""

from collections.abc import Callable, Mapping, Sequence

import grpc

from push_core.fuse import MakeFuse
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.rpc.grpc_listener import GrpcListener
from push_core.rpc.grpc_metadata import Option
from push_core.rpc.grpc_peers import GrpcPeers
from push_core.rpc.in_flight import MAX_IN_FLIGHT
from push_core.rpc.port import NodeService, ReceiptsService
from push_core.rpc.trust import Certificates, Networks, proof_of
from push_core.rpc.versions import Spoken
from push_core.rpc.zones import Zones

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_PEERS = 1_024


class GrpcRpc:
    """`address` is where listeners bind (`host:0`: a free port each); `advertise` the host that peers are told when that differs.
    Without a `cluster_key` and without `certificates` a random key is made: then only listeners of this very object can be called.
    `networks`: where addresses that presence names may be; empty: any with certificates, else what suits the place of our own listener."""

    def __init__(
        self,
        address: str = "127.0.0.1:0",
        *,
        cluster_key: str | None = None,
        certificates: Certificates | None = None,
        networks: Sequence[str] = (),
        receipts: Mapping[str, Sequence[str]] | None = None,
        advertise: str | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_peers: int = MAX_PEERS,
        metrics: Metrics | None = None,
        fuse: Callable[[str], MakeFuse] | None = None,
        spoken: Spoken | None = None,
    ) -> None:
        self.bind = address
        self.advertise = advertise
        self.certificates = certificates
        self.proof = "" if cluster_key is None and certificates is not None else proof_of(cluster_key)
        self.spoken = spoken or Spoken()
        self._networks = (
            Networks(networks)
            if networks
            else None
            if certificates is not None
            else Networks.of_listener(address, advertise)
        )
        self._metrics = metrics
        self.fuse = fuse
        self.zones = Zones(receipts)
        self.max_in_flight = max_in_flight
        self.max_message_bytes = max_message_bytes
        self.max_peers = max_peers

    def peers(self) -> "GrpcPeers":
        return GrpcPeers(self)

    def listen(
        self, *, node: NodeService | None = None, receipts: ReceiptsService | None = None, zone: str
    ) -> "GrpcListener":
        return GrpcListener(self, node, receipts, zone)

    def may_dial(self, address: str) -> bool:
        """Addresses of the settings, of control and of this process are the operator's word; others must be where peers may be."""
        return self._networks is None or self.zones.vouched(address) or self._networks.allow(address)

    def refused(self, reason: str) -> None:
        """A call was refused, by us or to us, before anything was done: count it."""
        if self._metrics is not None:
            self._metrics.count(Metric.RPC_REFUSED, reason=reason)

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        known = self.certificates
        return grpc.ssl_channel_credentials(known.ca, known.key, known.cert) if known is not None else None

    def server_credentials(self) -> grpc.ServerCredentials | None:
        known = self.certificates
        if known is None:
            return None
        return grpc.ssl_server_credentials(
            [(known.key, known.cert)], root_certificates=known.ca, require_client_auth=True
        )

    @property
    def size_options(self) -> list[Option]:
        return [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
        ]
