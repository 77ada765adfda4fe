"""An address has one form, and a set of networks knows what is in it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.addresses import Networks, Prefixes, normal, packed, text_of

addresses = st.ip_addresses()
networks = st.builds(
    lambda address, length: ipaddress.ip_network((address, length % (address.max_prefixlen + 1)), strict=False),
    addresses,
    st.integers(0, 128),
)


@given(addresses)
def test_the_usual_form_is_that_of_the_standard_library_with_mapped_ones_as_ipv4(
    address: ipaddress.IPv6Address,
) -> None:
    mapped = address.ipv4_mapped if address.version == 6 else None
    assert normal(str(address)) == str(mapped or ipaddress.ip_address(normal(str(address)) or ""))
    found = packed(str(address))
    assert found is not None
    assert ipaddress.ip_address(found) == (mapped or address)
    assert text_of(found) == normal(str(address))


@given(st.text(max_size=60))
def test_whatever_is_no_address_is_none(text: str) -> None:
    found = normal(text)
    if found is not None:
        ipaddress.ip_address(found)


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "::g", "1.2.3.4\0", "é", "1:2", "%", "::1%\0"[:-1] + "\ud800"],
)
def test_nonsense_is_no_address(text: str) -> None:
    assert packed(text) is None or "%" in text


@given(st.lists(networks, max_size=30), addresses)
def test_an_address_is_in_exactly_the_networks_that_the_standard_library_says(
    chosen: list[ipaddress.IPv4Network], address: ipaddress.IPv4Address
) -> None:
    def is_mapped(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
        return network.version == 6 and network.network_address.ipv4_mapped is not None

    chosen = [network for network in chosen if not is_mapped(network)]
    prefixes = Prefixes()
    for place, network in enumerate(chosen):
        prefixes.add(str(network), 1 << place)
    real = ipaddress.ip_address(normal(str(address)) or "")
    expected = sum(1 << place for place, network in enumerate(chosen) if real in network)
    assert prefixes.of(str(address)) == expected
    assert (str(address) in Networks(map(str, chosen))) is bool(expected)


def test_a_mapped_address_is_in_a_network_of_ipv4() -> None:
    assert "::ffff:10.1.2.3" in Networks(["10.0.0.0/8"])
    assert "::ffff:11.1.2.3" not in Networks(["10.0.0.0/8"])
    assert "10.1.2.3" not in Networks([])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10.0.0.0/33", "is no network"),
        ("everybody", "is no network"),
        ("10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "is IPv4 written as IPv6"),
    ],
)
def test_a_wrong_network_is_refused_with_the_way_out(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Networks([text])
