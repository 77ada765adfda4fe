"""Takes batches from queues and sees each to its end: handled and acked, given back after a pause, or split until the poison is found.

Fresh batches that lie ready at the same moment are handled as one, so that a backlog of small ones costs no more than one of large ones; what goes
wrong then is found by handling each alone. Nothing is lost and nothing spins: a batch that meets a store that is down keeps its place among those under way while it pauses, so that
an outage slows the taking itself and makes no poison. Knows nothing of what is in a batch.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from dispatcher.publisher import join
from dispatcher.suspects import Suspects
from push_core.backoff import Backoff
from push_core.envelope import split_batch
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Consumer, ConsumerClosed, Parcel, Published, Queues, Source, Taken

log = structlog.get_logger(__name__)
T = TypeVar("T")
_SMALL_BYTES = 64 * 1024
"""Batches are put together up to this size, which is some hundred envelopes: more would make each wait for the others."""


class Work(Protocol[T]):
    """What is done with the items of one kind of queue."""

    def decode(self, body: bytes) -> list[T]:
        """Raises msgspec.DecodeError."""
        ...

    async def handle(self, items: Sequence[T], *, redelivered: bool) -> None:
        """Returns when all are settled. Raises Unavailable when they must be handled again."""
        ...

    def again(self, item: T) -> bytes:
        """The item as a batch of its own, marked as one that may have been handled before."""
        ...

    async def bury(self, raw: bytes, item: T | None) -> None:
        """An item that can't be handled was parked: end what hangs on it. `item` None: not even readable."""
        ...


class Intake(Generic[T]):
    def __init__(
        self,
        name: str,
        queues: Queues,
        sources: Sequence[Source],
        work: Work[T],
        metrics: Metrics,
        suspects: Suspects,
        *,
        parallel: int,
        pause_max_s: float,
        poison_tries: int,
        deadly: int,
        together: int = 1,
    ) -> None:
        """`deadly`: so many programs died with a batch that nobody handles it as a whole any more. `together`: batches handled as one."""
        self._name = name
        self._queues = queues
        self._sources = sources
        self._work = work
        self._metrics = metrics
        self._suspects = suspects
        self._poison_tries = poison_tries
        self._deadly = deadly
        self._together = together
        self._room = asyncio.Semaphore(parallel)
        self._backoff = Backoff(base_s=0.1, max_s=pause_max_s)
        self._under_way: set[asyncio.Task[None]] = set()
        self._consumer: Consumer | None = None

    async def run(self) -> None:
        """Take until `stop`. Raises Unavailable when the queues are down: to be started again."""
        consumer = self._consumer = await self._queues.consume(self._sources)
        try:
            while True:
                await self._room.acquire()
                try:
                    taken = await consumer.take()
                except BaseException as error:
                    self._room.release()
                    if isinstance(error, ConsumerClosed):
                        raise Unavailable("the consumer was closed") from None
                    raise
                self._begin(consumer, taken)
        except asyncio.CancelledError:
            raise  # `stop` closes the consumer once what is under way has ended
        except BaseException:
            await consumer.close()
            raise

    def _begin(self, consumer: Consumer, taken: Taken) -> None:
        """In the room of one: `taken`, and what else lies ready."""
        several, apart = [taken], []
        if not taken.redelivered and len(taken.body) < _SMALL_BYTES:
            size = len(taken.body)
            while len(several) < self._together and size < _SMALL_BYTES and (more := consumer.take_more(1)):
                if more[0].redelivered:
                    apart.append(more[0])
                    break
                several.append(more[0])
                size += len(more[0].body)
        for each in (*several, *apart):
            self._metrics.count(Metric.DI_BATCHES, queue=each.queue)
            self._metrics.timing(Metric.DI_QUEUE_SECONDS, each.age_s, queue=each.queue)
        self._start(self._several(consumer, several, apart))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name} batch")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def stop(self, grace_s: float) -> None:
        """After `run` was cancelled: wait for what is under way, then give back the rest."""
        if self._under_way and grace_s > 0:
            await asyncio.wait(set(self._under_way), timeout=grace_s)
        for task in set(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.close()
            self._consumer = None

    async def _several(self, consumer: Consumer, fresh: Sequence[Taken], apart: Sequence[Taken]) -> None:
        try:
            if len(fresh) > 1 and await self._as_one(consumer, fresh):
                fresh = ()
            elif len(fresh) > 1:
                fresh = [msgspec.structs.replace(taken, redelivered=True) for taken in fresh]
            await asyncio.gather(*(self._one(consumer, taken) for taken in (*fresh, *apart)))
        finally:
            self._room.release()

    async def _as_one(self, consumer: Consumer, several: Sequence[Taken]) -> bool:
        """Whether they are handled. If not, each has to be handled alone: who is at fault is not known."""
        try:
            items = [item for taken in several for item in self._work.decode(taken.body)]
        except msgspec.DecodeError:
            return False
        redelivered = False
        while True:
            try:
                await self._work.handle(items, redelivered=redelivered)
            except Unavailable as error:
                self._metrics.count(Metric.DI_GIVEN_BACK, len(several), queue=several[0].queue)
                log.warning("batches are put off", queue=several[0].queue, count=len(several), error=str(error))
                await asyncio.sleep(self._backoff.next_s())
                redelivered = True  # some of them may have been handled
            except Exception:  # noqa: BLE001 - it is told when the one at fault is handled alone
                return False
            else:
                break
        self._backoff.reset()
        await consumer.ack([taken.tag for taken in several])
        return True

    async def _one(self, consumer: Consumer, taken: Taken) -> None:
        while not await self._tried(consumer, taken):
            taken = msgspec.structs.replace(taken, redelivered=True)  # some of it may have been handled

    async def _tried(self, consumer: Consumer, taken: Taken) -> bool:
        """Whether this is over. An outage is none of the batch's fault: it keeps its place here and its tries."""
        try:
            await self.settle(taken)
        except Unavailable as error:
            self._metrics.count(Metric.DI_GIVEN_BACK, queue=taken.queue)
            log.warning("batch is put off", queue=taken.queue, tries=taken.tries, error=str(error))
            await asyncio.sleep(self._backoff.next_s())
            return False
        except Exception:  # the edge of a batch: a fault of ours must not lose it, and the loop must live
            log.exception("batch failed", queue=taken.queue, tries=taken.tries)
            self._metrics.count(Metric.TASK_ERRORS, task=self._name)
            await asyncio.sleep(self._backoff.next_s())
            await consumer.give_back([taken.tag])
            return True
        self._backoff.reset()
        await consumer.ack([taken.tag])
        return True

    async def settle(self, taken: Taken) -> None:
        """Handle one batch. Raises what `Work.handle` raises, except for items that failed alone and again: those are parked."""
        try:
            items = self._work.decode(taken.body)
        except msgspec.DecodeError:
            await self._apart(taken)
            return
        if not taken.redelivered:
            await self._work.handle(items, redelivered=False)
            return
        if await self._suspects.deaths(taken.body) >= self._deadly:
            await self._alone_or_never(taken, items)
        elif taken.tries >= self._poison_tries:
            await self._apart(taken)
        else:
            await self._work.handle(items, redelivered=True)
        await self._suspects.done(taken.body)

    async def _alone_or_never(self, taken: Taken, items: Sequence[T]) -> None:
        """A batch that nobody outlived: each of its items goes back into the queue alone; one that is alone already is parked unhandled."""
        if len(items) == 1:
            log.error("poison: programs died of it", queue=taken.queue, programs=self._deadly)
            died = RuntimeError(f"{self._deadly} programs died while they handled it")
            await self._park(taken, taken.body, split_batch(taken.body)[0], items[0], died)
            return
        log.error("programs died of a batch; its parts are tried one by one", queue=taken.queue, items=len(items))
        outcomes = await self._queues.publish([Parcel(taken.queue, self._work.again(item)) for item in items])
        if any(outcome is not Published.CONFIRMED for outcome in outcomes):
            raise Unavailable(f"queue {taken.queue} does not take the parts of a batch")

    async def _apart(self, taken: Taken) -> None:
        try:
            raws = split_batch(taken.body)
        except msgspec.DecodeError as error:
            await self._park(taken, taken.body, b"", None, error)
            return
        results = await asyncio.gather(*(self._alone(taken, raw) for raw in raws), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _alone(self, taken: Taken, raw: bytes) -> None:
        body = join([raw])
        try:
            items = self._work.decode(body)
        except msgspec.DecodeError as error:
            await self._park(taken, body, raw, None, error)
            return
        try:
            await self._work.handle(items, redelivered=taken.redelivered)
        except Unavailable:
            raise
        except Exception as error:  # poison is whatever fails alone, for a reason that nobody foresaw
            if taken.tries < self._poison_tries:
                raise
            log.exception("poison", queue=taken.queue)
            await self._park(taken, body, raw, items[0], error)

    async def _park(self, taken: Taken, body: bytes, raw: bytes, item: T | None, error: Exception) -> None:
        # Parked first: ending the deliveries would be the last trace of the item if we died between the two.
        await self._queues.park(taken.queue, body, f"{type(error).__name__}: {error}"[:500], tries=taken.tries)
        self._metrics.count(Metric.DI_POISON)
        await self._work.bury(raw, item)
