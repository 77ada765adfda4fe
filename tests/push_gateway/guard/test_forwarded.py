"""What clients write into X-Forwarded-For is not believed; what trusted proxies add is."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.addresses import Networks
from push_gateway.guard.forwarded import MOST_HOPS, client_of

TRUSTED = Networks(["10.0.0.0/8", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        pytest.param("203.0.113.9", ["1.1.1.1"], "203.0.113.9", id="a stranger's word"),
        pytest.param("10.0.0.1", ["203.0.113.9"], "203.0.113.9", id="a proxy's word"),
        pytest.param("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9", id="a proxy on a socket of both kinds"),
        pytest.param("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9", id="what the client wrote before"),
        pytest.param("10.0.0.1", ["10.9.9.9, 203.0.113.9"], "203.0.113.9", id="a client that calls itself a proxy"),
        pytest.param("10.0.0.1", ["203.0.113.9,10.0.0.2 ,\t10.0.0.3"], "203.0.113.9", id="a chain of proxies"),
        pytest.param(
            "10.0.0.1", ["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9", id="several headers are one list"
        ),
        pytest.param("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="proxies only: the first of them"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="no header"),
        pytest.param("10.0.0.1", [""], "10.0.0.1", id="an empty one"),
        pytest.param(
            "10.0.0.1", ["1.1.1.1, unknown"], "10.0.0.1", id="who it was is unknown, and the rest not believed"
        ),
        pytest.param("10.0.0.1", ["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2", id="unknown beyond the second proxy"),
        pytest.param("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9", id="with a port"),
        pytest.param("10.0.0.1", ["203.0.113.9:x"], "10.0.0.1", id="with a port that is none"),
        pytest.param("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param("10.0.0.1", ["2001:DB8::7, 2001:db8:1::1"], "2001:db8::7", id="IPv6 through IPv6"),
        pytest.param("10.0.0.1", ["[203.0.113.9]"], "10.0.0.1", id="brackets that do not belong"),
        pytest.param("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9", id="IPv4 as IPv6"),
        pytest.param("10.0.0.1", ["203.0.113.9" + ",10.0.0.1" * 10_000], "10.0.0.1", id="a chain without an end"),
        pytest.param("", ["203.0.113.9"], "", id="a peer that is gone"),
    ],
)
def test_whose_request_it_is(peer: str, headers: list[str], client: str) -> None:
    assert client_of(peer, headers, TRUSTED) == client


hops = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["unknown", "10.0.0.2", "", "[::1]:1", "1.2.3.4:5", "[", ":", "::::"]),
    st.text(max_size=12),
)


@given(st.lists(st.lists(hops, max_size=6).map(",".join), max_size=4))
def test_nothing_does_harm_and_the_answer_is_an_address(headers: list[str]) -> None:
    ipaddress.ip_address(client_of("10.0.0.1", headers, TRUSTED))


@given(st.lists(hops, max_size=MOST_HOPS - 2), st.ip_addresses(v=4).filter(lambda a: str(a) not in TRUSTED))
def test_nothing_that_a_client_writes_hides_it(forged: list[str], client: ipaddress.IPv4Address) -> None:
    header = ",".join([*forged, str(client), "10.0.0.2"])
    assert client_of("10.0.0.1", [header], TRUSTED) == str(client)
