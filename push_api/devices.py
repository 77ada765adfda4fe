"""What callers may do with a device: register, look up, forget, see where it is connected, disconnect, block, subscribe to topics.

All state is by (app, device): another app's device is not found. A device needs no registration, so presence, disconnect and
block answer for any name.
"""

from collections.abc import Sequence

from push_api.deadlines import within
from push_api.models import MAX_TOPICS, DeviceRecord, Disconnected, PresenceStatus, Registration
from push_core.clock import Clock
from push_core.devices.port import Devices, TopicChange
from push_core.errors import TacoError, Unavailable, UserError
from push_core.models import Device
from push_core.presence.port import Located, Presence
from push_core.rpc.port import Kick, Peers, Subscription
from sdk_proto.wire.close import CloseCode

_TRIES = 2  # a session may have moved to another node between asking where it is and asking that node
_ANY_EPOCH = -1


class DeviceService:
    """`timeout_s` bounds each call to a store or a node."""

    def __init__(self, devices: Devices, presence: Presence, peers: Peers, clock: Clock, *, timeout_s: float) -> None:
        self._devices = devices
        self._presence = presence
        self._peers = peers
        self._clock = clock
        self._timeout_s = timeout_s

    async def put(self, app: str, device: str, given: Registration) -> DeviceRecord:
        record = Device(
            app=app,
            device=device,
            alias=given.alias,
            tags=tuple(dict.fromkeys(given.tags or ())),
            platform=given.platform,
            vendor_tokens=given.vendor_tokens or {},
            locale=given.locale,
            time_zone=given.time_zone,
            app_version=given.app_version,
            updated=self._clock.wall_ms(),
        )
        stored = await within(self._timeout_s, "the device store", self._devices.put([record]))
        return _record(stored[0])

    async def get(self, app: str, device: str) -> DeviceRecord:
        found = await within(self._timeout_s, "the device store", self._devices.get([(app, device)]))
        if found[0] is None:
            raise _unknown()
        return _record(found[0])

    async def forget(self, app: str, device: str) -> None:
        """Raises UserError `not_found` when there was no record."""
        there = await within(self._timeout_s, "the device store", self._devices.forget([(app, device)]))
        if not there[0]:
            raise _unknown()

    async def presence(self, app: str, device: str) -> PresenceStatus:
        located = await self._locate(app, device)
        if located is None:
            return PresenceStatus(online=False)
        return PresenceStatus(online=True, node=located.node.name, since=located.route.since)

    async def disconnect(self, app: str, device: str) -> Disconnected:
        """End the device's session, if there is one; it may connect again."""
        ended = await self._kick(app, device, CloseCode.SHUTTING_DOWN, "disconnected by the app")
        return Disconnected(ended)

    async def block(self, app: str, device: str) -> DeviceRecord:
        """Refuse the device from now on and end its session. The block stands even when the session could not be reached (Unavailable)."""
        key = (app, device)
        # Before the kick: the device connects again at once, and must be refused then.
        await within(self._timeout_s, "the device store", self._devices.block([key], True, now=self._clock.wall_ms()))
        try:
            await self._kick(app, device, CloseCode.DEVICE_BLOCKED, "blocked by the app")
        except TacoError as error:
            raise Unavailable(f"the device is blocked, its session could not be ended: {error.message}") from error
        return await self.get(app, device)

    async def unblock(self, app: str, device: str) -> DeviceRecord:
        """Raises UserError `not_found` for a device without a record: then it isn't blocked either."""
        await self.get(app, device)
        await within(
            self._timeout_s, "the device store", self._devices.block([(app, device)], False, now=self._clock.wall_ms())
        )
        return await self.get(app, device)

    async def subscribe(self, app: str, device: str, topics: Sequence[str]) -> DeviceRecord:
        """Subscribe the device to topics, now if it is connected, and with each session from now on. Raises UserError `too_many`."""
        found = await within(self._timeout_s, "the device store", self._devices.get([(app, device)]))
        before = found[0].topics if found[0] is not None else ()
        if len({*before, *topics}) > MAX_TOPICS:
            raise UserError(f"a device takes at most {MAX_TOPICS} topics of its app's", code="too_many", field="topics")
        return await self._change_topics(TopicChange(app=app, device=device, add=topics))

    async def unsubscribe(self, app: str, device: str, topics: Sequence[str]) -> DeviceRecord:
        """Undo `subscribe`; what the device has subscribed to itself, too, for its present session. Raises UserError `not_found`."""
        await self.get(app, device)
        return await self._change_topics(TopicChange(app=app, device=device, remove=topics))

    async def _change_topics(self, change: TopicChange) -> DeviceRecord:
        """Stored first: a device that connects meanwhile reads it. A session that can't be told has them with its next one (Unavailable)."""
        call = self._devices.change_topics([change], now=self._clock.wall_ms())
        (stored,) = await within(self._timeout_s, "the device store", call)
        try:
            await self._tell(change)
        except TacoError as error:
            raise Unavailable(
                f"the topics are stored, the present session could not be told: {error.message}"
            ) from error
        return _record(stored)

    async def _tell(self, change: TopicChange) -> None:
        for _ in range(_TRIES):
            located = await self._locate(change.app, change.device)
            if located is None:
                return
            node = located.node
            on = bool(change.add)
            told = Subscription(change.app, change.device, list(change.add or change.remove), on)
            call = self._peers.subscribe(node.address, [told], timeout_s=self._timeout_s)
            if (await within(self._timeout_s, f"gateway {node.name}", call))[0]:
                return

    async def _locate(self, app: str, device: str) -> Located | None:
        found = await within(self._timeout_s, "presence", self._presence.locate([(app, device)]))
        return found[0]

    async def _kick(self, app: str, device: str, code: CloseCode, reason: str) -> bool:
        """Whether a session was ended."""
        for _ in range(_TRIES):
            located = await self._locate(app, device)
            if located is None:
                return False
            node = located.node
            kick = Kick(app, device, _ANY_EPOCH, int(code), reason, node.incarnation)
            call = self._peers.kick(node.address, [kick], timeout_s=self._timeout_s)
            if (await within(self._timeout_s, f"gateway {node.name}", call))[0]:
                return True
        return False


def _unknown() -> UserError:
    return UserError("this app has no such device", code="not_found")


def _record(device: Device) -> DeviceRecord:
    return DeviceRecord(
        device=device.device,
        alias=device.alias,
        tags=device.tags,
        platform=device.platform,
        vendor_tokens=device.vendor_tokens,
        locale=device.locale,
        time_zone=device.time_zone,
        app_version=device.app_version,
        blocked=device.blocked,
        updated=device.updated,
        topics=device.topics,
    )
