"""What `bench.broadcast` takes down within the gateway's process."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from push_gateway.app import Gateway


@dataclass(frozen=True, slots=True)
class Cast:
    """What broadcasts came to. `cpu_s` is the process's until the last ack, `slices_s` the time that their slices took."""

    written: int
    acked: int
    cpu_s: float
    system_s: float
    longest_slice_ms: float
    longest_turn_ms: float
    slices: int
    slices_s: float


class Turns:
    """How long broadcasts hold the loop: their slices by themselves, and with what the loop does before it is their turn again (the system
    calls behind their writes above all)."""

    def __init__(self, gateway: Gateway) -> None:
        self._slice = gateway._broadcasts._slice
        gateway._broadcasts._slice = self._measured  # type: ignore[method-assign]
        self.forget()

    def forget(self) -> None:
        self.longest_slice_s = self.longest_turn_s = 0.0
        self.slices = 0
        self.slices_s = 0.0

    def _measured(self, fan_out: Any) -> bool:
        began = perf_counter()
        over = self._slice(fan_out)
        held = perf_counter() - began
        self.longest_slice_s = max(self.longest_slice_s, held)
        self.slices += 1
        self.slices_s += held
        loop = asyncio.get_running_loop()
        # Writes go out at the end of this turn; what is called in the turn after the next one has seen it whole.
        loop.call_soon(self._turned, began)
        return over

    def _turned(self, began: float) -> None:
        self.longest_turn_s = max(self.longest_turn_s, perf_counter() - began)
