"""How long a connection may be silent before the network forgets it: learned, for each network (PROTOCOL.md §5, "Adaptive heartbeat").

Pure: what is known is how long a connection had been silent when a ping of it was answered, or was not. After the rules of Tencent's
Mars (`stn/src/smart_heartbeat.cc`): from 3.5 up to 10 minutes in steps of one, three answers a step, down on a loss, a margin below
what was found, kept for each network. Ours beside: a ping counts only if nothing else had kept the connection awake, and a loss only
if the client was back soon, so that a tunnel or a server's restart teaches nothing; below 3.5 minutes it looks as well, as far as the
server lets it. `adaptive.js` is the same; `vectors/heartbeat.json` holds both to it.
"""

import json
from dataclasses import dataclass
from typing import Any

from sdk_proto.wire.frames import Heartbeat as Bounds

START_S = 210  # where a network that isn't known begins, and the longest in the foreground
LONGEST_S = 600
STEP_S = 60
MARGIN_S = 20  # kept below what was answered, once it is known that there is an end to it
SLACK_S = 10.0  # what a pong may take, and a timer may be late
ANSWERS = 3  # in a row, and an interval counts as good
LOSSES = 2  # in a row, and an interval that is not a probe counts as too long
PROBE_AFTER = 100  # answers at rest before a bound is tried again: about 6 hours; doubled each time that it holds
PROBE_AFTER_MOST = 1_600
BACK_S = 30.0  # a loss counts if the client was welcomed again within so long
NETWORKS = 16  # remembered; the one that was used longest ago goes first


@dataclass(slots=True)
class Learned:
    """What is known of one network, in whole seconds.

    `target` is in use in the background; `good` the longest that was answered ANSWERS times in a row (0: none yet), `bound` the
    shortest that lost the connection (0: none yet), `patience` how many answers at rest the next probe waits for. `settled`: at rest.
    """

    target: int = START_S
    good: int = 0
    bound: int = 0
    answers: int = 0
    losses: int = 0
    patience: int = PROBE_AFTER
    settled: bool = False

    def answered(self, quiet_s: float, shortest: int, longest: int) -> None:
        """A ping was answered after `quiet_s` of silence; intervals are kept between `shortest` and `longest`."""
        at = max(self.target, shortest)
        if at > longest or quiet_s + SLACK_S < at:
            return
        self.losses = 0
        self.answers += 1
        if self.settled:
            self._probe(at, longest)
        elif self.answers >= ANSWERS:
            self.answers = 0
            self.good = at
            if self.bound and at >= self.bound:
                self.bound = 0
                self.patience = PROBE_AFTER
            higher = min(at + STEP_S, longest)
            if higher > at and (not self.bound or higher < self.bound):
                self.target = higher
            else:
                self._settle()

    def lost(self, quiet_s: float, shortest: int, longest: int) -> None:
        """A ping after `quiet_s` of silence was not answered."""
        at = min(max(self.target, shortest), longest)
        attentive = min(at, max(START_S, shortest))
        if quiet_s + SLACK_S < attentive or quiet_s > at + SLACK_S:
            return  # too short to tell of the network's memory, or the device slept
        if quiet_s + SLACK_S < at:
            at = attentive
        self.answers = 0
        if self.good and at > self.good:
            if self.bound:
                self.patience = min(self.patience * 2, PROBE_AFTER_MOST)
            self.bound = at
            self._settle()
            return
        self.losses += 1
        if self.losses >= LOSSES:
            self.losses = 0
            self.bound = at
            self.good = 0
            self.settled = False
            self.target = max(at - STEP_S, shortest)

    def _settle(self) -> None:
        self.settled = True
        self.target = self.good - MARGIN_S if self.bound else self.good

    def _probe(self, at: int, longest: int) -> None:
        higher = self.bound or min(self.good + STEP_S, longest)
        if at < higher <= longest and (not self.bound or self.answers >= self.patience):
            self.settled = False
            self.answers = 0
            self.target = higher


class AdaptiveHeartbeat:
    """All networks of one device, by the label that its hello gives them (none is a label too). `now` is monotonic seconds."""

    __slots__ = ("_bounds", "_dirty", "_doubt", "_networks")

    def __init__(self, stored: str | None = None) -> None:
        """`stored` is what `take_changed` gave once; what can't be read is learned again."""
        self._networks = dict(_parse(stored))
        self._bounds = Bounds()
        self._doubt: tuple[str, float, float] | None = None  # network, silence, when: a loss that may or may not count
        self._dirty = False

    def interval_s(self, network: str | None, *, foreground: bool) -> int:
        """Seconds between pings, for now. In the foreground never over START_S: somebody looks, and nothing is tried."""
        learned = self._networks.get(network or "") or Learned()
        wish = min(learned.target, START_S) if foreground else learned.target
        return min(max(wish, self._bounds.min), self._longest)

    def bounded(self, bounds: Bounds) -> None:
        """What the server allows from now on."""
        self._bounds = bounds

    def welcomed(self, network: str | None, bounds: Bounds, now: float) -> None:
        """Signed in: if it was soon after a loss, and on the same network, then it was the silence that cost the connection."""
        self.bounded(bounds)
        name = network or ""
        learned = self._networks.pop(name, None) or Learned()
        self._networks[name] = learned  # as the newest
        while len(self._networks) > NETWORKS:
            del self._networks[next(iter(self._networks))]
        doubt, self._doubt = self._doubt, None
        if doubt is not None and doubt[0] == name and now - doubt[2] <= BACK_S:
            learned.lost(doubt[1], self._bounds.min, self._longest)
            self._dirty = True

    def answered(self, network: str | None, quiet_s: float) -> None:
        learned = self._networks.get(network or "")
        if learned is None:
            return
        before = (learned.target, learned.good, learned.settled, learned.losses)
        learned.answered(quiet_s, self._bounds.min, self._longest)
        # Not each answer is worth a write to the disk.
        if before != (learned.target, learned.good, learned.settled, learned.losses) or learned.answers % 10 == 9:
            self._dirty = True

    def lost(self, network: str | None, quiet_s: float, now: float) -> None:
        """A ping after `quiet_s` of silence was not answered, or the connection was gone before it could be."""
        self._doubt = (network or "", quiet_s, now)

    def take_changed(self) -> str | None:
        """What should be stored, if it is worth it since the last call."""
        if not self._dirty:
            return None
        self._dirty = False
        return json.dumps(
            [[name, *_listed(learned)] for name, learned in self._networks.items()], separators=(",", ":")
        )

    @property
    def _longest(self) -> int:
        return max(self._bounds.min, min(LONGEST_S, self._bounds.max))


def _listed(learned: Learned) -> list[int]:
    numbers = (learned.target, learned.good, learned.bound, learned.answers, learned.losses, learned.patience)
    return [*numbers, int(learned.settled)]


def _parse(stored: str | None) -> list[tuple[str, Learned]]:
    try:
        known: Any = json.loads(stored or "[]")
    except ValueError:
        return []
    sound = filter(_is_sound, known) if isinstance(known, list) else ()
    return [
        (name, Learned(target, good, bound, answers, losses, patience, bool(settled)))
        for name, target, good, bound, answers, losses, patience, settled in sound
    ][-NETWORKS:]


def _is_sound(entry: Any) -> bool:
    if not (isinstance(entry, list) and len(entry) == 8 and isinstance(entry[0], str)):
        return False
    numbers: list[Any] = entry[1:]
    target, good, *_, patience, settled = numbers
    if not all(type(number) is int and 0 <= number <= 86_400 for number in numbers):
        return False
    return bool(target and patience and (good or not settled))
