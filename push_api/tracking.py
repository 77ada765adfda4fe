"""Looking after messages that were accepted: where one is, and taking one back."""

from push_api.deadlines import within
from push_api.models import DEFAULT_TTL, MAX_DEVICES, Delivery, MessageStatus
from push_api.publisher import Publisher
from push_core.clock import Clock
from push_core.envelope import Envelope, Work
from push_core.errors import Overloaded, UserError
from push_core.ids import parse_id
from push_core.messages.port import Messages, MessageView
from push_core.models import App, Channels, Kind, Priority

_RECALL_MS = (
    DEFAULT_TTL * 1_000
)  # how long telling connected devices is worth while; the others find the recall in their inbox


class Tracking:
    """`timeout_s` bounds each call to the store."""

    def __init__(self, messages: Messages, publisher: Publisher, clock: Clock, *, timeout_s: float) -> None:
        self._messages = messages
        self._publisher = publisher
        self._clock = clock
        self._timeout_s = timeout_s

    async def get(self, app: App, message_id: str, *, after: str | None, limit: int) -> MessageStatus:
        """Raises UserError `not_found` for a message that this app doesn't have, and for what is no id."""
        wanted = _parse(message_id)
        call = self._messages.get([(app.name, wanted)], after=after, limit=limit)
        view = (await within(self._timeout_s, "the message store", call))[0]
        if view is None:
            raise _unknown()
        return _status(view)

    async def recall(self, app: App, message_id: str, traceparent: str, *, limit: int) -> MessageStatus:
        """Take the message back. Repeating it tells the devices again and changes nothing else."""
        wanted = _parse(message_id)
        if self._publisher.room <= 0:
            raise Overloaded("too many messages are waiting for the queue")
        now = self._clock.wall_ms()
        call = self._messages.recall([(app.name, wanted)], now=now)
        recalled = (await within(self._timeout_s, "the message store", call))[0]
        if recalled is None:
            raise _unknown()
        self._publisher.give(
            [
                Envelope(
                    id=wanted,
                    app=app.name,
                    devices=recalled.notify[first : first + MAX_DEVICES],
                    alias=None,
                    push=b"",
                    kind=Kind.PASSTHROUGH,
                    priority=Priority.URGENT,
                    channels=Channels.LONG,
                    collapse=None,
                    sent=now,
                    expires=now + _RECALL_MS,
                    ack_timeout_ms=0,
                    live_only=False,
                    vendor=None,
                    traceparent=traceparent,
                    queue_class=app.queue_class,
                    work=Work.RECALL,
                )
                for first in range(0, len(recalled.notify), MAX_DEVICES)
            ]
        )
        return await self.get(app, message_id, after=None, limit=limit)


def _parse(message_id: str) -> int:
    parsed = parse_id(message_id)
    if parsed is None:
        raise _unknown()
    return parsed


def _unknown() -> UserError:
    return UserError("this app has no such message", code="not_found")


def _status(view: MessageView) -> MessageStatus:
    return MessageStatus(
        id=str(view.id),
        state=view.state,
        reason=view.reason or None,
        counts=view.counts,
        recalled_at=view.recalled_at,
        deliveries=[
            Delivery(
                device=row.device,
                channel=row.channel or None,
                state=row.state,
                reason=row.reason or None,
                at=row.at,
            )
            for row in view.deliveries
        ],
        next=view.next,
    )
