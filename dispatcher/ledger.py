"""The one way of this program to move deliveries: changes of concurrent batches share transactions, and every move that was made is
told to trail and metrics.

Knows nothing of why a delivery moves."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from push_core.batching import Batcher
from push_core.clock import WallMs
from push_core.errors import TacoError
from push_core.lifecycle import RANK
from push_core.messages.port import Applied, Change, Ended, Messages, Outcome, Partly
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.trail.port import Event, Trail

CHANGES_PER_CALL = 1_024
"""Changes a caller hands over in one list at most: a transaction must not grow with a caller's batch."""
LISTS_PER_CALL = 4


def is_plain(change: Change) -> bool:
    """Whether nothing but the delivery itself can be touched by it."""
    return not change.stored and RANK[change.to] > 0


class Ledger:
    """`apply` raises what the store raises: Unavailable (nothing happened), DeadlineExceeded (unknown); both may be repeated.
    Overloaded at `bound` lists waiting."""

    def __init__(
        self,
        messages: Messages,
        trail: Trail,
        metrics: Metrics,
        wall_ms: Callable[[], WallMs],
        *,
        parallel: int,
        bound: int,
    ) -> None:
        self._messages = messages
        self._trail = trail
        self._metrics = metrics
        self._wall_ms = wall_ms
        # Acks of what was never stored are one statement in the store, unless something else is among them: they go apart.
        self._plain, self._rest = (
            Batcher[Sequence[Change], list[Applied]](
                self._work, largest=LISTS_PER_CALL, bound=bound, parallel=parallel, name=name
            )
            for name in ("ledger acks", "ledger")
        )

    async def apply(
        self, changes: Sequence[Change], *, traces: Mapping[int, str] | None = None, node: str = ""
    ) -> list[Applied]:
        """Make the changes; what became of each. `traces` are traceparents by message id, for the trail."""
        if not changes:
            return []
        batcher = self._plain if all(is_plain(change) for change in changes) else self._rest
        futures = batcher.submit_all(
            [changes[start : start + CHANGES_PER_CALL] for start in range(0, len(changes), CHANGES_PER_CALL)]
        )
        applied: list[Applied] = []
        for future in futures:
            applied.extend(await future)
        self._note(changes, applied, traces or {}, node)
        return applied

    def note_ended(self, ended: Sequence[Ended]) -> None:
        """Tell of deliveries that the store ended by itself."""
        if not ended:
            return
        now = self._wall_ms()
        self._trail.write(
            [
                Event(at=now, id=end.id, app=end.app, device=end.device, step=end.state, reason=end.reason)
                for end in ended
            ]
        )
        for (state, reason), n in Counter((end.state, end.reason) for end in ended).items():
            self._metrics.count(Metric.DI_STATES, n, state=state, reason=reason)

    async def close(self) -> None:
        await self._plain.close()
        await self._rest.close()

    async def _work(self, lists: Sequence[Sequence[Change]]) -> Sequence[list[Applied] | BaseException]:
        changes = [change for part in lists for change in part] if len(lists) > 1 else lists[0]
        try:
            outcome: Outcome = await self._messages.apply(changes, now=self._wall_ms())
        except Partly as partly:
            self.note_ended(partly.ended)
            return _by_list(lists, partly.results)
        self.note_ended(outcome.ended)
        return [outcome.applied] if len(lists) == 1 else _by_list(lists, outcome.applied)

    def _note(
        self, changes: Sequence[Change], applied: Sequence[Applied], traces: Mapping[int, str], node: str
    ) -> None:
        events: list[Event] = []
        states: Counter[tuple[str, str]] = Counter()
        for change, what in zip(changes, applied, strict=True):
            if what is not Applied.MADE:
                continue
            reason = change.reason or ""
            states[change.to, reason] += 1
            events.append(
                Event(
                    at=change.at,
                    id=change.id,
                    app=change.app,
                    device=change.device,
                    step=change.to,
                    reason=reason,
                    channel=change.channel,
                    node=node,
                    traceparent=traces.get(change.id, ""),
                )
            )
        if events:
            self._trail.write(events)
            for (state, why), n in states.items():
                self._metrics.count(Metric.DI_STATES, n, state=state, reason=why)


def _by_list(
    lists: Sequence[Sequence[Change]], results: Sequence[Applied | TacoError]
) -> list[list[Applied] | BaseException]:
    found: list[list[Applied] | BaseException] = []
    start = 0
    for part in lists:
        mine = results[start : start + len(part)]
        start += len(part)
        applied = [result for result in mine if isinstance(result, Applied)]
        # A store of several was away: whoever brought the list brings it again, and what was made is a repeat then.
        found.append(applied if len(applied) == len(mine) else next(r for r in mine if isinstance(r, TacoError)))
    return found
