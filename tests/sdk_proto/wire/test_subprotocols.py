import pytest

from sdk_proto.wire.subprotocols import JSON, PROTO, SUBPROTOCOLS, choose, codec_for


def test_each_subprotocol_names_its_codec() -> None:
    assert [codec_for(name) for name in SUBPROTOCOLS] == [PROTO, JSON]
    assert codec_for("taco.v2+json") is None


@pytest.mark.parametrize(
    ("offered", "codec"),
    [
        (["taco.v1+json"], JSON),
        (["taco.v1+proto", "taco.v1+json"], PROTO),
        (["taco.v1+json", "taco.v1+proto"], JSON),
        (["taco.v9+cbor", "taco.v1+proto"], PROTO),
        (["TACO.V1+JSON"], None),
        ([], None),
    ],
)
def test_the_first_known_one_of_the_clients_list_is_taken(offered: list[str], codec: object) -> None:
    assert choose(offered) is codec
