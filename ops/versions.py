"""Which versions of everything shared this release works with: what must hold while releases roll (docs/architecture.md, "Releases roll")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops import __version__
from push_core.rpc.versions import Spoken
from sdk_proto.wire import frames


@dataclass(frozen=True, slots=True)
class Release:
    """`protocol`: of devices (subprotocol taco.vN). `rpc`: between programs. `schemas`: the step of each history of tables that this release
    needs at least; tables that are ahead say themselves which releases still work with them."""

    taco: str
    protocol: int
    rpc: Spoken
    schemas: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "taco": self.taco,
            "protocol": self.protocol,
            "rpc": {"version": self.rpc.version, "oldest": self.rpc.oldest},
            "schemas": dict(self.schemas),
        }


def this_release() -> Release:
    from push_core.sql.migrate import SCHEMAS, steps_known

    return Release(__version__, frames.VERSION, Spoken(), {schema: steps_known(schema)[-1] for schema in SCHEMAS})
