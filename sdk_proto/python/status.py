"""What a client tells its application about itself."""

from dataclasses import dataclass

from sdk_proto.wire.frames import Error


@dataclass(frozen=True, slots=True)
class Status:
    """`state`: offline (not started, or stopped by the application), connecting, waiting (for `retry_s` seconds), online, stopped
    (by the server, for good). `code` and `reason` are those of the last connection's end; `pending` is the server's hint of how
    much waits."""

    state: str = "offline"
    session: str | None = None
    code: int | None = None
    reason: str = ""
    retry_s: float | None = None
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that did not end the client. `kind`: handler, store, token, callback, server (an `error` frame), undecodable."""

    kind: str
    error: Exception | Error | str
    message_id: int | None = None
