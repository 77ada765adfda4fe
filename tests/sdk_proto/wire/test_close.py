import pytest

from sdk_proto.wire.close import CloseCode, Order, order_of


@pytest.mark.parametrize(
    ("code", "order"),
    [
        (4000, Order.RECONNECT),
        (4099, Order.RECONNECT),
        (4100, Order.ELSEWHERE),
        (4199, Order.ELSEWHERE),
        (4200, Order.NEW_TOKEN),
        (4299, Order.NEW_TOKEN),
        (4300, Order.STOP),
        (4399, Order.STOP),
        (4400, Order.RECONNECT),
        (3999, Order.RECONNECT),
        (1000, Order.RECONNECT),
        (1006, Order.RECONNECT),
        (1009, Order.RECONNECT),
        (None, Order.RECONNECT),
    ],
)
def test_the_range_is_the_order(code: int | None, order: Order) -> None:
    assert order_of(code) is order


def test_every_code_of_ours_may_be_sent_by_an_application() -> None:
    assert all(4000 <= code <= 4999 for code in CloseCode)  # RFC 6455 §7.4.2: private use
