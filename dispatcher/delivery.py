"""One delivery under decision, and the rows made from it. Pure."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.lifecycle import Reason, State
from push_core.messages.port import Change, InboxRow, Later, Task
from push_core.models import DeviceKey
from push_core.trail.port import Event


class ForDevice(Protocol):
    """An envelope for one device: a `Delivery`, or a vendor's job."""

    @property
    def envelope(self) -> Envelope: ...

    @property
    def device(self) -> str: ...


@dataclass(slots=True)
class Delivery:
    """One envelope for one device. `again`: an earlier write was tried, or nobody knows."""

    envelope: Envelope
    device: str
    again: bool = False

    @property
    def key(self) -> DeviceKey:
        return self.envelope.app, self.device

    @property
    def row_key(self) -> tuple[int, str, str]:
        return self.envelope.id, self.envelope.app, self.device


def inbox_row(envelope: Envelope, *, again: bool = False, via_vendor: bool = False) -> InboxRow:
    return InboxRow(
        id=envelope.id,
        priority=envelope.priority.order,
        expires=envelope.expires,
        push=envelope.push,
        ack_timeout_ms=envelope.ack_timeout_ms,
        again=again,
        via_vendor=via_vendor,
    )


def change(
    of: ForDevice,
    to: State,
    now: WallMs,
    reason: Reason | None = None,
    *,
    channel: str = "",
    inbox: InboxRow | None = None,
    row: Later | None = None,
) -> Change:
    envelope = of.envelope
    return Change(
        id=envelope.id,
        app=envelope.app,
        device=of.device,
        to=to,
        at=now,
        reason=reason,
        channel=channel,
        inbox=inbox,
        collapse=envelope.collapse if inbox is not None else None,
        later=row,
    )


def later(of: ForDevice, task: Task, due: WallMs, *, tries: int = 0, replace: bool = False) -> Later:
    envelope = of.envelope
    return Later(id=envelope.id, app=envelope.app, device=of.device, task=task, due=due, tries=tries, replace=replace)


def moved(row: Later, due: WallMs, tries: int) -> Later:
    """The row again, for another time."""
    return msgspec.structs.replace(row, due=due, tries=max(tries, 0), replace=True)


def event(of: ForDevice, step: str, now: WallMs, *, reason: str = "", channel: str = "", node: str = "") -> Event:
    """For steps that are no states: those the ledger writes."""
    envelope = of.envelope
    return Event(
        at=now,
        id=envelope.id,
        app=envelope.app,
        device=of.device,
        step=step,
        reason=reason,
        channel=channel,
        node=node,
        traceparent=envelope.traceparent,
    )
