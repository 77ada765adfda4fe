"""Every frame that may be sent, in the form that decoding gives back (absent rather than empty)."""

import msgspec
from hypothesis import strategies as st

from sdk_proto.wire import frames as f

ids = st.integers(1, f.MAX_ID)
u32 = st.integers(0, 2**32 - 1)
u53 = st.integers(0, f.MAX_NUMBER)
positive = st.integers(1, f.MAX_NUMBER)
_characters = st.characters(codec="utf-8")
_plain = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
text = st.text(_characters, max_size=80)
some_text = st.text(_characters, min_size=1, max_size=80)
name = st.text(_plain, min_size=1, max_size=128)
label = st.text(_plain, min_size=1, max_size=64)
factor = st.floats(1, 1e6)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
json_object = st.dictionaries(text, json_value, max_size=4)


def raw(values: st.SearchStrategy[object]) -> st.SearchStrategy[msgspec.Raw]:
    return values.filter(lambda value: value is not None).map(lambda value: msgspec.Raw(msgspec.json.encode(value)))


def maybe(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | values


def tuples(values: st.SearchStrategy[object], least: int, most: int) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(values, min_size=least, max_size=most).map(tuple)


def maybe_raw(values: st.SearchStrategy[object]) -> st.SearchStrategy[msgspec.Raw]:
    return st.just(msgspec.Raw()) | raw(values)


client_frames = st.one_of(
    st.builds(
        f.Hello,
        app=name,
        device=name,
        token=some_text.map(lambda token: "t" + "".join(c for c in token if c.isprintable())),
        versions=tuples(u32, 1, 32),
        install=maybe(name),
        attempt=maybe(u53),
        heartbeat=maybe(u32),
        window=maybe(u32),
        state=st.sampled_from([None, *f.APP_STATES]),
        sdk=maybe(label),
        network=maybe(label),
        features=tuples(label, 0, 4),
    ),
    st.builds(f.Ack, tuples(ids, 1, 40), st.sampled_from(f.ACK_STATUSES)),
    st.builds(f.Ping, maybe(u32)),
    st.builds(f.StateChange, st.sampled_from(f.APP_STATES)),
    st.builds(f.Call, id=positive, path=name, body=maybe_raw(json_value), timeout_ms=maybe(u32)),
    st.builds(f.Subscribe, tuples(name, 1, 4)),
    st.builds(f.Unsubscribe, tuples(name, 1, 4)),
)

pushes = st.builds(
    f.Push,
    id=ids,
    kind=some_text,
    title=maybe(some_text),
    body=maybe(some_text),
    data=maybe_raw(json_object),
    collapse=maybe(some_text),
    priority=some_text,
    sent=u53,
    expires=u53,
    again=st.booleans(),
    via_vendor=st.booleans(),
)

server_frames = st.one_of(
    st.builds(
        f.Welcome,
        version=st.integers(1, 2**32 - 1),
        session=text,
        time=u53,
        heartbeat=st.builds(f.Heartbeat, min=u32, max=u32, grace=factor, next=st.integers(1, 2**32 - 1)),
        window=u32,
        max_frame=u32,
        reconnect=st.builds(f.Reconnect, base_ms=u32, max_ms=u32, factor=factor),
        pending=u32,
        features=tuples(some_text, 0, 4),
    ),
    pushes,
    st.builds(f.Recall, ids),
    st.builds(f.Pong, u53),
    st.builds(f.Reply, id=positive, status=u32, body=maybe_raw(json_value)),
    st.builds(f.Config, key=some_text, version=u53, value=json_value),
    st.builds(f.Migrate, urls=tuples(some_text, 0, 4), after_ms=u32, spread_ms=u32, permanent=st.booleans()),
    st.builds(f.Error, code=some_text, message=text, retry=st.booleans()),
    st.builds(f.Bye, code=st.integers(1, 2**32 - 1), reason=text, retry_after_ms=u32),
)
