"""The HTTP door over real sockets and embedded stores: every promise of docs/api.md to a caller."""

import asyncio
import json
import re

import httpx

from push_api.app import PushApi
from push_core.adapters import Ports
from push_core.control.port import Entry
from push_core.envelope import Work, decode_batch
from push_core.errors import CODES
from push_core.ids import shard_of
from push_core.metrics.catalogue import Metric
from push_core.models import Priority
from push_core.queues.port import Source
from push_core.shards import shard_for_key
from tests.push_api.conftest import client_of
from tests.push_api.fakes import away
from tests.push_api.refusals import LONG_NAME, REFUSED, REFUSED_JSON, UNREADABLE, assert_refused, good

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_is_accepted_and_can_be_looked_up(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good())
    assert answer.status_code == 202
    assert answer.json() == {"id": answer.json()["id"], "state": "accepted"}
    found = (await http.get(f"/v1/messages/{answer.json()['id']}")).json()
    assert found["id"] == answer.json()["id"]
    assert (found["state"], found["reason"], found["recalled_at"], found["next"]) == ("accepted", None, None, None)
    assert found["counts"] == {"accepted": 1}
    delivery = found["deliveries"][0]
    assert (delivery["device"], delivery["channel"], delivery["state"]) == ("phone-1", None, "accepted")
    assert set(delivery["at"]) == {"accepted"}


async def test_what_was_accepted_is_in_the_queue_of_its_priority(http: httpx.AsyncClient, ports: Ports) -> None:
    consumer = await ports.queues.consume([Source("push.shared.urgent")])
    answer = await http.post(
        "/v1/messages", json=good(priority="urgent", ttl=60, collapse="c"), headers={"traceparent": TRACE}
    )
    [envelope] = decode_batch((await consumer.take()).body)
    await consumer.close()
    assert str(envelope.id) == answer.json()["id"]
    assert (envelope.app, envelope.devices, envelope.priority) == ("demo", ["phone-1"], Priority.URGENT)
    assert (envelope.expires - envelope.sent, envelope.ack_timeout_ms, envelope.live_only) == (60_000, 10_000, False)
    assert envelope.traceparent == TRACE
    assert list(json.loads(envelope.push)) == ["id", "kind", "title", "collapse", "priority", "sent", "expires"]
    assert envelope.push.startswith(b'{"id":"%d","kind":"notification",' % envelope.id)


async def test_with_ttl_0_a_message_lives_until_its_ack_is_due(http: httpx.AsyncClient, ports: Ports) -> None:
    consumer = await ports.queues.consume([Source("push.shared.normal")])
    await http.post("/v1/messages", json=good(ttl=0, ack_timeout=3))
    [envelope] = decode_batch((await consumer.take()).body)
    await consumer.close()
    assert envelope.live_only
    assert envelope.expires - envelope.sent == 3_000


async def test_a_message_for_an_alias_waits_for_its_expansion(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good(target={"alias": "user-7"}))
    found = (await http.get(f"/v1/messages/{answer.json()['id']}")).json()
    assert (found["state"], found["deliveries"]) == ("accepted", [])


async def test_a_bad_message_is_refused(http: httpx.AsyncClient) -> None:
    for wrong, message, code, field in REFUSED + REFUSED_JSON:
        answer = await http.post("/v1/messages", json=message)
        assert (wrong, answer.status_code) == (wrong, CODES[code].status)
        assert_refused(answer, code, field)


async def test_an_unknown_field_is_answered_with_the_nearest_name(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good(prioritty="high"))
    assert answer.json()["error"]["message"] == "there is no field prioritty; did you mean priority?"
    answer = await http.post("/v1/messages", json=good(target={"devcie": "a"}))
    assert answer.json()["error"]["message"] == "there is no field devcie; did you mean device?"


async def test_a_wrong_word_is_answered_with_the_choices(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good(priority="asap"))
    assert "one of urgent, high, normal, low" in answer.json()["error"]["message"]


async def test_a_body_that_cannot_be_read_is_the_callers_fault(http: httpx.AsyncClient) -> None:
    for what, body, code in UNREADABLE:
        answer = await http.post("/v1/messages", content=body)
        assert (what, answer.json()["error"]["code"]) == (what, code)
        for method, path in [("POST", "/v1/messages:batch"), ("PUT", "/v1/devices/phone-1")]:
            answer = await http.request(method, path, content=body)
            assert (what, answer.status_code in (400, 422)) == (what, True)


async def test_of_two_equal_keys_the_last_counts(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", content=b'{"target":{"device":"a","device":"b"},"title":"x","title":"y"}')
    found = (await http.get(f"/v1/messages/{answer.json()['id']}")).json()
    assert [row["device"] for row in found["deliveries"]] == ["b"]


async def test_the_content_type_is_not_asked_for(http: httpx.AsyncClient) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain; charset=latin-1", ""):
        answer = await http.post("/v1/messages", content=json.dumps(good()), headers={"content-type": kind})
        assert answer.status_code == 202


async def test_a_compressed_body_is_refused_with_a_reason(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert_refused(answer, "bad_request", "content-encoding")


# ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_is_answered_in_order(http: httpx.AsyncClient) -> None:
    messages = [good(target={"device": f"phone-{n}"}) for n in range(20)]
    answer = await http.post("/v1/messages:batch", json={"messages": messages})
    assert answer.status_code == 202
    for n, result in enumerate(answer.json()["results"]):
        assert set(result) == {"id"}
        found = (await http.get(f"/v1/messages/{result['id']}")).json()
        assert found["deliveries"][0]["device"] == f"phone-{n}"


async def test_a_bad_message_fails_only_itself(http: httpx.AsyncClient) -> None:
    for wrong, message, code, field in REFUSED + REFUSED_JSON:
        answer = await http.post("/v1/messages:batch", json={"messages": [good(), message, good()]})
        assert (wrong, answer.status_code) == (wrong, 202)
        first, bad, last = answer.json()["results"]
        assert set(first) == set(last) == {"id"}
        assert set(bad) == {"error"}
        assert (wrong, bad["error"]["code"], bad["error"]["field"]) == (wrong, code, f"messages[1].{field}")


async def test_a_batch_of_bad_messages_is_answered_one_by_one(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages:batch", json={"messages": [good(ttl=-1), 7, None, good(title=1)]})
    assert answer.status_code == 202
    fields = [result["error"]["field"] for result in answer.json()["results"]]
    assert fields == ["messages[0].ttl", "messages[1]", "messages[2]", "messages[3].title"]


async def test_500_messages_are_a_batch_and_501_are_too_many(http: httpx.AsyncClient, ports: Ports) -> None:
    answer = await http.post("/v1/messages:batch", json={"messages": [good()] * 500})
    assert len({result["id"] for result in answer.json()["results"]}) == 500
    before = ports.metrics.counted(Metric.API_ACCEPTED)  # type: ignore[attr-defined]
    assert_refused(await http.post("/v1/messages:batch", json={"messages": [good()] * 501}), "too_many", "messages")
    assert_refused(
        await http.post("/v1/messages:batch", json={"messages": [good(ttl=-1)] * 501}), "too_many", "messages"
    )
    assert ports.metrics.counted(Metric.API_ACCEPTED) == before  # type: ignore[attr-defined]


async def test_what_is_no_batch_is_refused_as_a_whole(http: httpx.AsyncClient) -> None:
    for body, code, field in [
        ({}, "missing_field", "messages"),
        ({"messages": []}, "invalid", "messages"),
        ({"messages": {}}, "invalid", "messages"),
        ({"messages": [good()], "x": 1}, "unknown_field", "x"),
        ([good()], "invalid", None),
    ]:
        assert_refused(await http.post("/v1/messages:batch", json=body), code, field)


async def test_a_batch_with_a_part_that_is_not_json_is_not_json(http: httpx.AsyncClient) -> None:
    bad = b'{"messages":[{"target":{"device":"a"},"ttl":-1},{"title":"\xff"}]}'
    assert_refused(await http.post("/v1/messages:batch", content=bad), "bad_json")


async def test_a_batch_takes_no_key_for_all_of_it(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages:batch", json={"messages": [good()]}, headers={"idempotency-key": "k"})
    assert_refused(answer, "invalid", "Idempotency-Key")


# ── idempotency ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_repeat_gets_the_first_answer_and_is_not_published_again(http: httpx.AsyncClient, ports: Ports) -> None:
    consumer = await ports.queues.consume([Source("push.shared.normal")])
    answers = [
        await http.post("/v1/messages", json=good(idempotency_key="k")),
        await http.post("/v1/messages", json=good(idempotency_key="k")),
        await http.post("/v1/messages", json=good(), headers={"Idempotency-Key": "k"}),
        await http.post("/v1/messages:batch", json={"messages": [good(idempotency_key="k")]}),
    ]
    assert [answer.status_code for answer in answers] == [202] * 4
    first = answers[0].json()
    assert answers[1].json() == answers[2].json() == first
    assert answers[3].json()["results"] == [{"id": first["id"]}]
    await http.post("/v1/messages", json=good(title="the last"))
    pushed = [
        json.loads(envelope.push)["title"] for _ in range(2) for envelope in decode_batch((await consumer.take()).body)
    ]
    await consumer.close()
    assert pushed == ["Order 9", "the last"]


async def test_the_same_key_for_another_message_is_a_conflict(http: httpx.AsyncClient) -> None:
    await http.post("/v1/messages", json=good(idempotency_key="k"))
    answer = await http.post("/v1/messages", json=good(title="Order 10", idempotency_key="k"))
    assert_refused(answer, "idempotency_conflict", "idempotency_key")
    answer = await http.post("/v1/messages:batch", json={"messages": [good(), good(body="x", idempotency_key="k")]})
    error = answer.json()["results"][1]["error"]
    assert (error["code"], error["field"]) == ("idempotency_conflict", "messages[1].idempotency_key")


async def test_a_header_that_differs_from_the_field_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good(idempotency_key="a"), headers={"Idempotency-Key": "b"})
    assert_refused(answer, "invalid", "idempotency_key")


async def test_a_bad_key_in_the_header_is_refused(http: httpx.AsyncClient) -> None:
    for key in ("", LONG_NAME):
        answer = await http.post("/v1/messages", json=good(), headers={"Idempotency-Key": key})
        assert_refused(answer, "invalid", "Idempotency-Key")
    answer = await http.post("/v1/messages", json=good(), headers={b"Idempotency-Key": b"\xff"})
    assert_refused(answer, "bad_request", "idempotency-key")
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    assert_refused(await http.post("/v1/messages", json=good(), headers=twice), "bad_request", "idempotency-key")


async def test_a_key_is_of_its_app(http: httpx.AsyncClient, api: PushApi) -> None:
    ours = await http.post("/v1/messages", json=good(idempotency_key="k"))
    async with client_of(api, "other.secret-2") as other:
        theirs = await other.post("/v1/messages", json=good(title="another", idempotency_key="k"))
    assert theirs.status_code == 202
    assert theirs.json()["id"] != ours.json()["id"]


async def test_many_with_one_key_at_the_same_time_are_one_message(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(http.post("/v1/messages", json=good(idempotency_key="k")) for _ in range(30)),
        http.post("/v1/messages:batch", json={"messages": [good(idempotency_key="k")] * 5}),
    )
    *singles, batch = answers
    ids = {answer.json()["id"] for answer in singles} | {result["id"] for result in batch.json()["results"]}
    assert len(ids) == 1


async def test_the_shard_of_a_key_is_always_the_same_one(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good(idempotency_key="k"))
    assert shard_of(int(answer.json()["id"])) == shard_for_key("demo", "k", range(256))


# ── looking up and taking back ──────────────────────────────────────────────────────────────────────────────────────────


async def test_deliveries_come_in_pages_by_device(http: httpx.AsyncClient) -> None:
    devices = [f"d{n:03}" for n in range(150)]
    sent = (await http.post("/v1/messages", json=good(target={"devices": devices}))).json()["id"]
    first = (await http.get(f"/v1/messages/{sent}")).json()
    assert [row["device"] for row in first["deliveries"]] == devices[:100]
    assert first["next"] == "d099"
    second = (await http.get(f"/v1/messages/{sent}", params={"after": first["next"]})).json()
    assert [row["device"] for row in second["deliveries"]] == devices[100:]
    assert second["next"] is None
    small = (await http.get(f"/v1/messages/{sent}?limit=1&after=d007")).json()
    assert [row["device"] for row in small["deliveries"]] == ["d008"]
    assert first["counts"] == second["counts"] == {"accepted": 150}


async def test_a_bad_query_is_refused(http: httpx.AsyncClient) -> None:
    for query, code, field in [
        ("limit=0", "invalid", "limit"),
        ("limit=101", "invalid", "limit"),
        ("limit=ten", "invalid", "limit"),
        ("limit=-1", "invalid", "limit"),
        ("limit=٣", "invalid", "limit"),
        (f"limit={'9' * 5_000}", "invalid", "limit"),
        ("limit=1&limit=2", "invalid", "limit"),
        ("after=", "invalid", "after"),
        ("after=%00", "invalid", "after"),
        ("afer=a", "unknown_field", "afer"),
        ("after=%ff", "bad_request", None),
        ("&".join(f"a{n}=" for n in range(101)), "bad_request", None),
    ]:
        assert_refused(await http.get(f"/v1/messages/1?{query}"), code, field)


async def test_an_id_that_is_none_of_ours_is_not_found(http: httpx.AsyncClient) -> None:
    for wrong in ["1", "0", "9223372036854775807", "9223372036854775808", "x", "-1", "1.0", "%31x", "٣"]:
        assert_refused(await http.get(f"/v1/messages/{wrong}"), "not_found")
        assert_refused(await http.delete(f"/v1/messages/{wrong}"), "not_found")


async def test_another_apps_message_is_not_found(http: httpx.AsyncClient, api: PushApi) -> None:
    sent = (await http.post("/v1/messages", json=good())).json()["id"]
    async with client_of(api, "other.secret-2") as other:
        assert_refused(await other.get(f"/v1/messages/{sent}"), "not_found")
        assert_refused(await other.delete(f"/v1/messages/{sent}"), "not_found")
    assert (await http.get(f"/v1/messages/{sent}")).json()["recalled_at"] is None


async def test_a_recall_is_answered_with_the_message_and_tells_the_devices(
    http: httpx.AsyncClient, ports: Ports
) -> None:
    sent = (await http.post("/v1/messages", json=good())).json()["id"]
    consumer = await ports.queues.consume([Source("push.shared.urgent")])
    answer = await http.delete(f"/v1/messages/{sent}", headers={"traceparent": TRACE})
    assert answer.status_code == 200
    assert answer.json()["state"] == "recalled"
    assert answer.json()["recalled_at"]
    [envelope] = decode_batch((await consumer.take()).body)
    await consumer.close()
    assert (str(envelope.id), envelope.work, envelope.devices) == (sent, Work.RECALL, ["phone-1"])
    assert (envelope.app, envelope.push, envelope.traceparent) == ("demo", b"", TRACE)
    again = await http.delete(f"/v1/messages/{sent}")
    assert (again.status_code, again.json()) == (200, answer.json())


# ── who is calling ──────────────────────────────────────────────────────────────────────────────────────────────────────

KEYS = [
    None,
    "",
    "Bearer",
    "Bearer demo",
    "Bearer demo.",
    "Bearer demo.wrong",
    "Bearer nobody.secret",
    "Bearer other.secret",
    "Bearer DEMO.secret",
    "Bearer .secret",
    "Bearer demo.secret extra",
    "Basic demo.secret",
    "demo.secret",
    "Bearer demo." + "x" * 5_000,
]


async def test_without_a_known_key_nothing_is_done(api: PushApi) -> None:
    for key in KEYS:
        async with client_of(api, None) as client:
            headers = {} if key is None else {"authorization": key}
            for method, path in [("POST", "/v1/messages"), ("GET", "/v1/messages/1"), ("PUT", "/v1/devices/d")]:
                answer = await client.request(method, path, json=good(), headers=headers)
                assert_refused(answer, "unauthorized")
                assert answer.headers["www-authenticate"] == 'Bearer realm="taco"'


async def test_a_wrong_secret_and_an_unknown_app_look_the_same(api: PushApi) -> None:
    bodies = set()
    for key in ("demo.wrong", "nobody.secret", "no-app-name!.x"):
        async with client_of(api, key) as client:
            bodies.add((await client.get("/v1/messages/1")).text)
    assert len(bodies) == 1


async def test_the_scheme_may_be_written_small(api: PushApi) -> None:
    async with client_of(api, None) as client:
        answer = await client.post("/v1/messages", json=good(), headers={"authorization": "bearer  demo.secret"})
        assert answer.status_code == 202


async def test_a_disabled_app_is_told_so_with_its_right_key_only(api: PushApi) -> None:
    async with client_of(api, "closed.secret") as client:
        assert_refused(await client.post("/v1/messages", json=good()), "app_disabled")
    async with client_of(api, "closed.wrong") as client:
        assert_refused(await client.post("/v1/messages", json=good()), "unauthorized")


async def test_two_authorization_headers_are_refused(http: httpx.AsyncClient) -> None:
    twice = [("authorization", "Bearer demo.secret"), ("authorization", "Bearer other.secret-2")]
    assert_refused(await http.get("/v1/messages/1", headers=twice), "bad_request", "authorization")


# ── paths and methods ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unknown_path_is_not_found(http: httpx.AsyncClient) -> None:
    for path in [
        "/",
        "/v1",
        "/v1/messages/",
        "/v1/messages/1/x",
        "/v1/message",
        "/v1/devices",
        "/v1/devices/",
        "/v1/devices/d/x",
        "//",
        "/%00",
        "/v1/devices/d/presence/",
    ]:
        assert_refused(await http.get(f"{http.base_url}".rstrip("/") + path), "not_found")


async def test_another_method_is_answered_with_those_that_exist(http: httpx.AsyncClient) -> None:
    for path, allow in [
        ("/v1/messages", {"POST"}),
        ("/v1/messages:batch", {"POST"}),
        ("/v1/messages/1", {"GET", "HEAD", "DELETE"}),
        ("/v1/devices/d", {"PUT", "GET", "HEAD", "DELETE"}),
        ("/v1/devices/d/presence", {"GET", "HEAD"}),
        ("/v1/devices/d:block", {"POST"}),
        ("/healthz", {"GET", "HEAD"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ]:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allow:
            answer = await http.request(method, path)
            assert_refused(answer, "method_not_allowed")
            assert set(re.split(", *", answer.headers["allow"])) == allow


async def test_head_is_get_without_a_body(http: httpx.AsyncClient) -> None:
    answer = await http.head("/healthz")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "15")


# ── trace ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_valid_traceparent_is_answered_and_an_invalid_one_replaced(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=good(), headers={"traceparent": TRACE})
    assert answer.headers["traceparent"] == TRACE
    for bad in (b"", b"x", TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32).encode(), b"\xff"):
        answer = await http.post("/v1/messages", json=good(), headers={b"traceparent": bad})
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", answer.headers["traceparent"])
    answer = await http.post("/v1/messages", json={}, headers={"traceparent": TRACE})
    assert (answer.status_code, answer.headers["traceparent"]) == (422, TRACE)


# ── when a neighbour is down ────────────────────────────────────────────────────────────────────────────────────────────


async def test_when_the_commit_fails_nothing_is_accepted(http: httpx.AsyncClient, ports: Ports) -> None:
    ports.messages.replace(commit=away("the message store"))  # type: ignore[attr-defined]
    answer = await http.post("/v1/messages", json=good())
    assert_refused(answer, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    answer = await http.post("/v1/messages:batch", json={"messages": [good(), good(ttl=-1)]})
    assert_refused(answer, "unavailable")
    assert ports.metrics.counted(Metric.API_ACCEPTED) == 0  # type: ignore[attr-defined]
    assert await ports.queues.depth("push.shared.normal") == 0
    ports.messages.give_back()  # type: ignore[attr-defined]
    assert (await http.post("/v1/messages", json=good())).status_code == 202


async def test_when_the_device_store_is_down_nobody_is_let_in(http: httpx.AsyncClient, ports: Ports) -> None:
    ports.devices.replace(apps=away("the device store"))  # type: ignore[attr-defined]
    assert_refused(await http.post("/v1/messages", json=good()), "unavailable")


async def test_a_fault_of_ours_says_nothing_of_its_inside(http: httpx.AsyncClient, ports: Ports) -> None:
    ports.messages.replace(get=KeyError("a secret thing"))  # type: ignore[attr-defined]
    answer = await http.get("/v1/messages/1")
    assert_refused(answer, "internal")
    assert "secret" not in answer.text


async def test_when_the_queue_is_down_messages_are_accepted_all_the_same(http: httpx.AsyncClient, ports: Ports) -> None:
    ports.queues.replace(publish=away("the queue"))  # type: ignore[attr-defined]
    answer = await http.post("/v1/messages", json=good())
    assert answer.status_code == 202
    assert (await http.get("/readyz")).status_code == 200


async def test_a_map_that_gives_this_zone_no_shard_stops_it(http: httpx.AsyncClient, ports: Ports) -> None:
    await ports.control.control.put("shards", {"zones": {"elsewhere": [[0, 255]]}})
    seen = asyncio.Event()

    def notice(_: Entry) -> None:
        seen.set()

    ports.control.subscribe("shards", notice)
    await seen.wait()
    assert_refused(await http.post("/v1/messages", json=good()), "unavailable")


# ── health ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_health_and_readiness_need_no_key(api: PushApi) -> None:
    async with client_of(api, None) as client:
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_not_ready_says_what_is_missing_and_stays_alive(http: httpx.AsyncClient, ports: Ports) -> None:
    ports.messages.replace(ping=away("the disk"))  # type: ignore[attr-defined]
    answer = await http.get("/readyz")
    assert_refused(answer, "unavailable")
    assert "the message store does not answer" in answer.json()["error"]["message"]
    assert (await http.get("/healthz")).status_code == 200
    ports.messages.give_back()  # type: ignore[attr-defined]
    assert (await http.get("/readyz")).status_code == 200


async def test_requests_are_counted_by_method_and_status(http: httpx.AsyncClient, ports: Ports) -> None:
    await http.post("/v1/messages", json=good())
    await http.post("/v1/messages", json={})
    await http.get("/nope")
    counted = ports.metrics.counted  # type: ignore[attr-defined]
    assert counted(Metric.API_REQUESTS, method="send", status="202") == 1
    assert counted(Metric.API_REQUESTS, method="send", status="422") == 1
    assert counted(Metric.API_REQUESTS, method="unknown", status="404") == 1
    assert counted(Metric.API_ACCEPTED, app="demo") == 1
    assert counted(Metric.API_REFUSED, app="demo", code="missing_field") == 1
