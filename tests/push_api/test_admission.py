"""Who comes in: rates by app and address, and load by priority; through both doors."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import httpx
import msgspec
import pytest
from grpc import aio

from push_api.admission import Admission, Visit
from push_api.app import PushApi
from push_api.drafts import Draft
from push_api.settings import ApiSettings
from push_core.adapters import Ports
from push_core.errors import Overloaded, Unavailable, UserError
from push_core.limits.memory import MemoryLimits
from push_core.load import LoopLag
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App, Channels, Kind, Priority
from sdk_proto.rpc import push_pb2 as pb
from tests.push_api.conftest import app_with_key, client_of
from tests.push_api.refusals import assert_refused, good
from tests.support.hand_clock import HandClock
from tests.support.until import until

APP = App(name="demo")
LEAST = ApiSettings().shed_least


def drafts(*priorities: Priority) -> list[Draft]:
    return [
        Draft(
            devices=["d"],
            alias=None,
            content=b"",
            kind=Kind.NOTIFICATION,
            priority=priority,
            channels=Channels.AUTO,
            collapse=None,
            ttl_ms=1_000,
            ack_timeout_ms=1_000,
            vendor=None,
        )
        for priority in priorities
    ]


class Door:
    def __init__(self, **settings: Any) -> None:
        self.clock = HandClock()
        self.metrics = MemoryMetrics()
        self.lag = LoopLag("api", self.metrics)
        self.limits = MemoryLimits(monotonic=self.clock.monotonic)
        self.admission = Admission(
            self.limits, self.lag, self.metrics, replace(ApiSettings(), **settings), self.clock.clock()
        )

    def under_way(self, requests: int) -> list[Visit]:
        """For a while already, and the loop is late."""
        visits = [self.admission.visit() for _ in range(requests)]
        for visit in visits:
            visit.__enter__()
        for _ in range(300):
            with pytest.raises(UserError), self.admission.visit():
                raise UserError("no")
        self.lag.smoothed_s = 0.25
        return visits

    def under_pressure(self, times: float) -> None:
        """So many times as much is under way as should be."""
        self.admission._pressure = lambda: times  # type: ignore[method-assign]


async def test_by_default_there_is_no_limit() -> None:
    door = Door()
    for _ in range(1_000):
        door.admission.knock("192.0.2.7")
        assert await door.admission.messages(APP, drafts(Priority.NORMAL) * 100) is None


async def test_an_app_over_its_rate_is_told_which_and_when_to_come_back() -> None:
    door = Door(app_rate=10.0, app_burst=20)
    await door.admission.messages(APP, drafts(*[Priority.NORMAL] * 20))
    with pytest.raises(UserError) as refused:
        await door.admission.messages(APP, drafts(*[Priority.NORMAL] * 15))
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after_s == pytest.approx(1.5)
    assert refused.value.message == "app demo may send 10 messages a second, 20 at once; repeat in 2 s"
    assert door.metrics.counted(Metric.LIMITED, limit="app") == 1
    await door.admission.messages(App(name="other"), drafts(*[Priority.NORMAL] * 20))
    door.clock.advance(1.5)
    await door.admission.messages(APP, drafts(*[Priority.NORMAL] * 15))


@pytest.mark.parametrize(
    ("app", "granted"),
    [
        (App(name="demo"), 20),
        (App(name="demo", rate=5.0, burst=50), 50),
        (App(name="demo", rate=5.0), 5),
        (App(name="demo", rate=0.5), 1),
        (App(name="demo", rate=0.0), 100),
    ],
)
async def test_an_apps_own_rate_comes_before_the_settings(app: App, granted: int) -> None:
    door = Door(app_rate=10.0, app_burst=20)
    got = 0
    for _ in range(100):
        try:
            await door.admission.messages(app, drafts(Priority.NORMAL))
        except UserError:
            continue
        got += 1
    assert got == granted


async def test_other_requests_count_as_one_message_each() -> None:
    door = Door(app_rate=10.0, app_burst=10)
    for _ in range(10):
        await door.admission.request(APP)
    with pytest.raises(UserError):
        await door.admission.request(APP)
    with pytest.raises(UserError):
        door.admission.recall_refusal(APP)
    door.clock.advance(0.1)
    door.admission.recall_refusal(APP)


async def test_an_address_over_its_rate_is_told_so() -> None:
    door = Door(address_rate=5.0, address_burst=10)
    for _ in range(10):
        door.admission.knock("192.0.2.7")
    with pytest.raises(UserError) as refused:
        door.admission.knock("192.0.2.7")
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after_s == pytest.approx(0.2)
    door.admission.knock("192.0.2.8")
    assert door.metrics.counted(Metric.LIMITED, limit="address") == 1


async def test_under_load_low_messages_are_turned_away_first_and_urgent_ones_last() -> None:
    let_in = {}
    for times in (0.7, 0.9, 1.1, 1.5, 1.7):
        door = Door()
        door.under_pressure(times)
        asked = drafts(Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)
        answers = await door.admission.messages(APP, asked) or [None] * 4
        let_in[times] = [draft.priority.value for draft, answer in zip(asked, answers, strict=True) if answer is None]
        for answer in answers:
            assert answer is None or (isinstance(answer, Overloaded) and 1.0 <= (answer.retry_after_s or 0) <= 3.0)
    everything = ["urgent", "high", "normal", "low"]
    assert let_in == {0.7: everything, 0.9: everything[:3], 1.1: everything[:2], 1.5: everything[:1], 1.7: []}


async def test_when_not_even_urgent_ones_come_in_nobody_gets_past_the_door() -> None:
    door = Door()
    door.under_pressure(1.5)
    door.admission.knock("192.0.2.7")
    with pytest.raises(Overloaded):
        await door.admission.request(APP)
    door.under_pressure(1.7)
    with pytest.raises(Overloaded):
        door.admission.knock("192.0.2.7")
    assert door.metrics.counted(Metric.SHED, place="api", priority="any") == 1
    assert door.metrics.counted(Metric.SHED, place="api", priority="other") == 1


async def test_who_is_turned_away_for_load_pays_no_tokens() -> None:
    door = Door(app_rate=10.0, app_burst=10)
    door.under_pressure(1.1)
    answers = await door.admission.messages(APP, drafts(*[Priority.LOW] * 8, *[Priority.HIGH] * 2))
    assert answers is not None
    assert [answer is None for answer in answers] == [False] * 8 + [True] * 2
    assert await door.admission.messages(APP, drafts(*[Priority.URGENT] * 8)) == [None] * 8


async def test_what_is_under_way_makes_the_pressure_once_the_loop_is_late() -> None:
    door = Door()
    visits = door.under_way(LEAST - 1)
    door.admission.knock("192.0.2.7")
    visits += door.under_way(LEAST)
    with pytest.raises(Overloaded):
        door.admission.knock("192.0.2.7")
    for visit in visits[LEAST - 1 :]:
        visit.__exit__(None, None, None)
    door.admission.knock("192.0.2.7")


async def test_where_nothing_ends_any_more_the_door_is_closed_for_a_while() -> None:
    door = Door()
    for _ in range(2 * LEAST):
        door.admission.visit().__enter__()
    door.admission.knock("192.0.2.7")
    door.clock.advance(1.0)
    with pytest.raises(Overloaded):
        door.admission.knock("192.0.2.7")


async def test_shedding_can_be_turned_off() -> None:
    door = Door(shed_lag_s=0.0, shed_slow_s=0.0)
    door.under_way(100 * LEAST)
    door.admission.knock("192.0.2.7")
    assert await door.admission.messages(APP, drafts(Priority.LOW)) is None


# ── through the doors ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def limited(settings: ApiSettings, ports: Ports) -> AsyncIterator[PushApi]:
    """The app `demo` may send five messages, then one each 1,000 s; `other` as many as it likes."""
    await ports.devices.put_apps(
        [
            msgspec.structs.replace(app_with_key("demo", "secret"), rate=0.001, burst=5),
            app_with_key("other", "secret-2"),
        ]
    )
    running = PushApi(replace(settings, max_address_connections=3), ports)
    await running.start()
    yield running
    await running.stop(2.0)


async def test_over_http_the_answer_is_429_with_a_time(limited: PushApi) -> None:
    async with client_of(limited, "demo.secret") as http:
        for _ in range(5):
            assert (await http.post("/v1/messages", json=good())).status_code == 202
        refused = await http.post("/v1/messages", json=good())
        assert_refused(refused, "rate_limited")
        assert 990 <= int(refused.headers["retry-after"]) <= 1_000
        assert "app demo may send 0.001 messages a second, 5 at once" in refused.json()["error"]["message"]
        assert_refused(await http.post("/v1/messages:batch", json={"messages": [good()]}), "rate_limited")
        assert_refused(await http.get("/v1/messages/1"), "rate_limited")
        assert (await http.get("/healthz")).status_code == 200
    async with client_of(limited, "other.secret-2") as http:
        assert (await http.post("/v1/messages", json=good())).status_code == 202


async def test_over_grpc_it_is_resource_exhausted_with_the_same_words(limited: PushApi) -> None:
    assert limited.grpc_address is not None
    async with aio.insecure_channel(limited.grpc_address) as channel:
        send = channel.unary_unary(
            "/taco.push.v1.Push/Send",
            request_serializer=pb.SendRequest.SerializeToString,
            response_deserializer=pb.SendReply.FromString,
        )
        metadata = (("authorization", "Bearer demo.secret"),)
        ask = pb.SendRequest(message=pb.Message(target=pb.Target(device="phone-1"), title="Order 9"))
        for _ in range(5):
            await send(ask, metadata=metadata, timeout=5)
        with pytest.raises(aio.AioRpcError) as refused:
            await send(ask, metadata=metadata, timeout=5)
    error = refused.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailing: Any = dict(error.trailing_metadata())  # type: ignore[arg-type]  # as the stubs have it
    assert (trailing["taco-error-code"], trailing["taco-error-retry"]) == ("rate_limited", "true")
    assert 990 <= int(trailing["taco-retry-after"]) <= 1_000


async def test_a_connection_too_many_from_one_address_is_told_so_and_closed(limited: PushApi) -> None:
    clients = [client_of(limited, "other.secret-2") for _ in range(4)]
    try:
        for client in clients[:3]:
            assert (await client.get("/healthz")).status_code == 200
        refused = await clients[3].get("/healthz")
        assert_refused(refused, "rate_limited")
        assert refused.headers["retry-after"] == "1"
        await clients[0].aclose()
        async with asyncio.timeout(5):
            while (await clients[3].get("/healthz")).status_code != 200:
                await asyncio.sleep(0.01)
    finally:
        for client in clients:
            await client.aclose()


async def test_with_the_limits_store_away_an_app_has_its_share(limited: PushApi, ports: Ports) -> None:
    async def away(_: Any) -> list[float]:
        raise Unavailable("down")

    ports.limits.take = away  # type: ignore[method-assign, assignment]
    async with client_of(limited, "demo.secret") as http:
        answers = [(await http.post("/v1/messages", json=good())).status_code for _ in range(5)]
    assert answers == [202, 202, 429, 429, 429]


async def test_a_crowd_of_one_app_over_its_limit_leaves_the_others_their_place(limited: PushApi) -> None:
    """Many callers of one app knock at once while another app sends: each of its messages is accepted."""
    async with client_of(limited, "demo.secret") as greedy, client_of(limited, "other.secret-2") as modest:

        async def flood() -> list[int]:
            return [(await greedy.post("/v1/messages", json=good())).status_code for _ in range(40)]

        floods = [asyncio.create_task(flood()) for _ in range(2)]
        answers = [(await modest.post("/v1/messages", json=good())).status_code for _ in range(40)]
        refused = [status for task in floods for status in await task]
    assert answers == [202] * 40
    assert sorted(refused) == [202] * 5 + [429] * 75


async def test_behind_a_store_that_stands_still_callers_are_told_at_once_and_what_is_in_is_done(
    settings: ApiSettings, ports: Ports
) -> None:
    store, standing_still = ports.messages, asyncio.Event()
    commit = store._inner.commit  # type: ignore[attr-defined]

    async def slowly(*args: Any, **options: Any) -> Any:
        await standing_still.wait()
        return await commit(*args, **options)

    running = PushApi(
        replace(settings, shed_slow_s=0.3, shed_serve_s=0.01, shed_least=8, request_timeout_s=30.0), ports
    )
    await running.start()
    try:
        async with client_of(running, "demo.secret") as http:
            assert (await http.post("/v1/messages", json=good())).status_code == 202
            store.replace(commit=slowly)  # type: ignore[attr-defined]
            inside = [asyncio.create_task(http.post("/v1/messages", json=good())) for _ in range(20)]
            await until(lambda: running._admission._shedder.flying + sum(task.done() for task in inside) == 20)
            async with client_of(running, "other.secret-2") as other:
                answers: list[httpx.Response] = []

                async def refused() -> bool:
                    answers.append(await other.get("/v1/messages/1"))  # needs no commit
                    return answers[-1].status_code == 503

                await until(refused)
                assert_refused(answers[-1], "overloaded")
                assert int(answers[-1].headers["retry-after"]) >= 1
                waiting = [task for task in inside if not task.done()]
                assert len(waiting) >= 8
                standing_still.set()
                assert [(await task).status_code for task in waiting] == [202] * len(waiting)
                await until(lambda: running._admission._shedder.flying == 0)
                assert (await other.post("/v1/messages", json=good())).status_code == 202
    finally:
        standing_still.set()
        await running.stop(2.0)
