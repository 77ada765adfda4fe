"""The threads that wait for the driver: some that write (one for a file), a few that read, each with a connection of its own.

Calls that arrive while a transaction runs share the next one (group commit): on one file the price of a commit is its fsync, and the
API's commits, receipts and settlements all write to it; on a server it saves round trips too. Within a shared transaction each call has a savepoint, so that one that
fails takes nobody with it. Knows nothing of what the calls do.
"""

import asyncio
import contextlib
import queue
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from push_core.errors import DeadlineExceeded, TacoError, Unavailable
from push_core.sql.errors import judge, translate
from push_core.sql.instead import Instead
from push_core.sql.trouble import Trouble

R = TypeVar("R")
SWITCH_S = 0.0005
GROUP = 64  # calls in one transaction: bounds how long the first of them waits for the last
RERUNS = 8  # of a transaction that the store undid, or whose connection ended before COMMIT was said
PAUSE_S = 0.002  # before the first of them, at most; doubled for each further one: half a second for all


def let_threads_in() -> None:
    """Lower the interpreter's switch interval for this process.

    A thread that waits for the interpreter's lock asks for it only after a whole interval without a release. A busy event loop releases
    it at each system call and has it back at once, so with the default of 5 ms it never has to give it up: under load our threads
    were measured to wait more than 5 s. Below the usual time between two system calls they get their turn.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))


class Call(Generic[R]):
    """One piece of work for a thread, and the future of the loop that waits for it.

    Whoever gives up first decides: `claim` (the thread begins it) and `withdraw` (its deadline passed) exclude each other, so that a
    call that was not begun in time is never made later, and one that was begun is finished whether or not anybody still waits.
    """

    __slots__ = ("_lock", "_taken", "before_commit", "future", "loop", "work")

    def __init__(
        self,
        work: Callable[[Connection], R],
        loop: asyncio.AbstractEventLoop,
        before_commit: Callable[[], None] | None = None,
    ) -> None:
        self.work = work
        self.before_commit = before_commit
        self.loop = loop
        self.future: asyncio.Future[R] = loop.create_future()
        self._lock = threading.Lock()
        self._taken = False

    def claim(self) -> bool:
        with self._lock:
            first, self._taken = not self._taken, True
        return first

    def expire(self, where: str, deadline_s: float) -> None:
        """On the loop, at the deadline."""
        if self.future.done():
            return
        if self.claim():
            self.future.set_exception(Unavailable(f"{where} was busy for {deadline_s:g} s; nothing was done"))
        else:
            self.future.set_exception(DeadlineExceeded(f"{where} did not answer within {deadline_s:g} s"))


Outcome = tuple[Call[Any], Any, BaseException | None]


class Lane:
    """A thread and its connection. `shared` lanes take from one queue (readers); the writer has its own."""

    def __init__(
        self, name: str, engine: Engine, where: str, calls: "queue.SimpleQueue[Call[Any] | None]", *, reading: bool
    ) -> None:
        self._engine = engine.execution_options(reading=True) if reading else engine
        self._where = where
        self._calls = calls
        self._group = 1 if reading else GROUP
        self._conn: Connection | None = None
        self._committing = False  # COMMIT has been said
        self._at: Call[Any] | None = None  # the call that is being worked on
        # A daemon, so that a program that ends without closing its stores ends: what it was told is done is durable already.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while (first := self._calls.get()) is not None:
            group, last = [first], False
            while len(group) < self._group:
                try:
                    call = self._calls.get_nowait()
                except queue.Empty:
                    break
                if call is None:
                    last = True
                    break
                group.append(call)
            _report(self._perform([call for call in group if call.claim()]))
            del group, first
            if last:
                break
        self._disconnect()

    def _perform(self, group: list[Call[Any]]) -> list[Outcome]:
        """Run the calls in one transaction; one that can't be done is left out, and the others are run again."""
        outcomes: list[Outcome] = []
        reruns = 0
        while group:
            try:
                return outcomes + self._transaction(group)
            except _Refused as refused:  # everything was rolled back; the others go again without it
                outcomes.append((refused.call, None, refused.error))
                group = [call for call in group if call is not refused.call]
                continue
            except Instead as other:  # of the only call
                group[0].work = other.work
                continue
            except DBAPIError as error:
                verdict = judge(error)
                translated = translate(verdict, self._where, committing=self._committing)
                if error.connection_invalidated or verdict.reconnect or not _usable(self._conn):
                    self._disconnect()
            except BaseException as error:  # noqa: BLE001 - the edge of a thread: an unforeseen error must reach those who wait
                if not _usable(self._conn):
                    self._disconnect()
                return outcomes + [(call, None, error) for call in group]
            # Undone by the store, or cut off before COMMIT was said: certainly nothing happened, and the work may be run again.
            again = verdict.trouble is Trouble.AGAIN or (verdict.trouble is Trouble.LOST and not self._committing)
            if again and reruns < RERUNS:
                reruns += 1
                if verdict.trouble is Trouble.AGAIN:
                    time.sleep(random.uniform(0.0, PAUSE_S * 2**reruns))  # noqa: S311 - so that two that met don't meet again
            elif (at := self._at) is not None and verdict.trouble in (Trouble.FAULT, Trouble.HELD):
                outcomes.append((at, None, translated))  # its own; the others go again without it
                group = [call for call in group if call is not at]
            else:
                return outcomes + [(call, None, translated) for call in group]
        return outcomes

    def _transaction(self, group: list[Call[Any]]) -> list[Outcome]:
        self._committing, self._at = False, None
        conn = self._connection()
        outcomes: list[Outcome] = []
        with conn.begin():
            if len(group) == 1:
                self._at = group[0]
                try:
                    outcomes.append((group[0], group[0].work(conn), None))
                except TacoError as error:
                    raise _Refused(group[0], error) from None
            else:
                for call in group:
                    self._at = call
                    outcomes.append(_guarded(conn, call))
            for call, _, failure in outcomes:
                if call.before_commit is not None and failure is None:
                    try:
                        call.before_commit()
                    except TacoError as refusal:
                        raise _Refused(call, refusal) from None
            self._committing, self._at = True, None
        return outcomes

    def _connection(self) -> Connection:
        if self._conn is None:
            self._conn = self._engine.connect()
        return self._conn

    def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(SQLAlchemyError):  # it is being thrown away because it does not work
                conn.close()


class _Refused(Exception):
    """A call that may not be committed; the transaction is rolled back."""

    def __init__(self, call: Call[Any], error: TacoError) -> None:
        super().__init__()
        self.call = call
        self.error = error


def _guarded(conn: Connection, call: Call[Any]) -> Outcome:
    """One of several calls in a transaction: what it did is undone without the others' if it fails."""
    conn.exec_driver_sql("SAVEPOINT one_call")
    try:
        try:
            result = call.work(conn)
        except Instead as other:
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT one_call")
            result = other.work(conn)
    except DBAPIError:
        raise  # may have ended the whole transaction: `_perform` sorts it out
    except Exception as error:  # noqa: BLE001 - it reaches the one who asked; the others' work stands
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT one_call")
        return call, None, error
    return call, result, None


def _usable(conn: Connection | None) -> bool:
    """Whether the failed transaction is over and the connection can be asked again. It is kept then: a database in memory is gone
    with its connection."""
    return conn is not None and not conn.in_transaction() and not conn.closed


def _report(outcomes: list[Outcome]) -> None:
    """Give results to the loops that wait: one wake-up for each loop, whatever the number of calls."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].loop, []).append(outcome)
    for loop, those in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, those)


def _settle(outcomes: list[Outcome]) -> None:
    for call, result, error in outcomes:
        if call.future.done():
            continue
        if error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)
