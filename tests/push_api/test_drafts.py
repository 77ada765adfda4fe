import json

from push_api.decoding import convert
from push_api.drafts import envelope_of
from push_api.models import Message
from push_api.validation import draft_of
from push_core.envelope import Work, decode, encode
from push_core.ids import make_id
from push_core.models import App
from tests.push_api.refusals import good

NOW = 1_790_000_000_000
ID = make_id(NOW, 7, 1, 0)
APP = App(name="demo", queue_class="courier")


def test_an_envelope_has_everything_that_a_dispatcher_needs() -> None:
    message = convert(good(ttl=60, vendor={"apns": {"badge": 1}}, target={"devices": ["a", "b"]}), Message)
    envelope = envelope_of(draft_of(message), ID, APP, NOW, "trace")
    assert (envelope.id, envelope.app, envelope.devices, envelope.alias) == (ID, "demo", ["a", "b"], None)
    assert (envelope.sent, envelope.expires, envelope.queue_class) == (NOW, NOW + 60_000, "courier")
    assert (envelope.work, envelope.repeat, envelope.vendor) == (Work.PUSH, False, {"apns": {"badge": 1}})
    assert decode(encode(envelope)) == envelope


def test_the_push_is_one_json_object_in_the_order_of_the_wire() -> None:
    message = convert(good(body='"é\n', data={"a": [1]}, collapse="c", priority="high"), Message)
    push = envelope_of(draft_of(message), ID, APP, NOW, "").push
    assert push.decode() == (
        f'{{"id":"{ID}","kind":"notification","title":"Order 9","body":"\\"é\\n","data":{{"a":[1]}},"collapse":"c",'
        f'"priority":"high","sent":{NOW},"expires":{NOW + 86_400_000}}}'
    )
    assert json.loads(push)["id"] == str(ID)


def test_with_ttl_0_it_lives_until_the_ack_is_due() -> None:
    envelope = envelope_of(draft_of(convert(good(ttl=0, ack_timeout=7), Message)), ID, APP, NOW, "")
    assert (envelope.live_only, envelope.expires, envelope.ack_timeout_ms) == (True, NOW + 7_000, 7_000)
