"""Close codes: the range is the order that the client follows (PROTOCOL.md §6)."""

import enum


class CloseCode(enum.IntEnum):
    SHUTTING_DOWN = 4000
    HEARTBEAT_MISSED = 4001
    TOO_SLOW = 4002
    OVERLOADED = 4003
    MAXIMUM_AGE = 4004
    HELLO_TOO_LATE = 4005
    INTERNAL_ERROR = 4006
    SUPERSEDED = 4007
    PINGING_TOO_FAST = 4008
    MIGRATE = 4100
    TOKEN_EXPIRED = 4200
    TOKEN_REFUSED = 4201
    PROTOCOL_ERROR = 4300
    REPLACED = 4301
    APP_DISABLED = 4303
    DEVICE_BLOCKED = 4304
    NO_COMMON_VERSION = 4305


class Order(enum.Enum):
    """What a client does after a close."""

    RECONNECT = "reconnect"  # with backoff, not before `retry_after_ms`
    ELSEWHERE = "elsewhere"  # reconnect to another address
    NEW_TOKEN = "new_token"  # noqa: S105 - an order, not a secret
    STOP = "stop"  # tell the application


def order_of(code: int | None) -> Order:
    """The order behind a close code; any code not listed, or none, means reconnect with backoff.

    >>> order_of(4107), order_of(4304), order_of(1006), order_of(None)
    (<Order.ELSEWHERE: 'elsewhere'>, <Order.STOP: 'stop'>, <Order.RECONNECT: 'reconnect'>, <Order.RECONNECT: 'reconnect'>)
    """
    if code is None:
        return Order.RECONNECT
    if 4100 <= code <= 4199:
        return Order.ELSEWHERE
    if 4200 <= code <= 4299:
        return Order.NEW_TOKEN
    if 4300 <= code <= 4399:
        return Order.STOP
    return Order.RECONNECT
