"""What all connections of a node share. A connection holds this one reference instead of ten."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from push_core.clock import Clock
from push_gateway.counters import Counters
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings
from push_gateway.wheel import Wheel
from sdk_proto.wire.server import Terms

if TYPE_CHECKING:
    from push_gateway.admission import Admission
    from push_gateway.broadcasts import Broadcasts
    from push_gateway.drains import Drains
    from push_gateway.guard.guard import Guard
    from push_gateway.receipts import Receipts
    from push_gateway.sign_in import SignIns
    from push_gateway.sign_out import SignOuts
    from push_gateway.topics import Topics


@dataclass(slots=True)
class Context:
    """`leased`: presence answered last time, so devices can sign in. `draining`: new devices should not come here, those that do are
    served. `stopping` refuses whatever is new."""

    settings: GatewaySettings
    terms: Terms
    clock: Clock
    incarnation: str
    admission: "Admission"
    guard: "Guard"
    wheel: Wheel
    counters: Counters
    receipts: "Receipts"
    drains: "Drains"
    sign_outs: "SignOuts"
    sign_ins: "SignIns"
    topics: "Topics"
    broadcasts: "Broadcasts"
    registry: Registry = field(default_factory=Registry)
    started: bool = False
    leased: bool = False
    draining: bool = False
    stopping: bool = False

    @property
    def ready(self) -> bool:
        """Whether new devices should come here: what `/readyz` says."""
        going = self.draining or self.stopping
        return self.started and self.leased and not going and not self.admission.overloaded
