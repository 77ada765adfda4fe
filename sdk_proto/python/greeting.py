"""What a client says of itself when it signs in: token, installation, a new attempt, and how the application stands now."""

from collections.abc import Callable

from sdk_proto.python.adaptive import AdaptiveHeartbeat
from sdk_proto.python.options import SDK, Options
from sdk_proto.python.remember import Remember
from sdk_proto.python.store import new_install
from sdk_proto.python.tokens import Tokens
from sdk_proto.wire.frames import VERSION, Hello


class Greeting:
    """Makes the hello of each attempt. `state`, `network` and `heartbeat` are what the application said last; `adaptive` knows the
    interval as long as it wished none."""

    def __init__(
        self, options: Options, tokens: Tokens, remember: Remember, report: Callable[[Exception], None]
    ) -> None:
        """`report` is told of a store that fails; attempts then count on in memory."""
        self._options = options
        self._tokens = tokens
        self._remember = remember
        self._report = report
        self._identity: tuple[str, int] | None = None
        self.state = options.state
        self.network = options.network
        self.adaptive = AdaptiveHeartbeat()
        self.heartbeat = options.heartbeat

    @property
    def learner(self) -> AdaptiveHeartbeat | None:
        """What a session has to learn with; None if the application has set the interval."""
        return self.adaptive if self.heartbeat is None else None

    async def hello(self) -> Hello:
        """Raises what the token provider raises."""
        token = await self._tokens.get()
        install, attempt = await self._next_attempt()
        options = self._options
        return Hello(
            app=options.app,
            device=options.device,
            token=token,
            versions=(VERSION,),
            install=install,
            attempt=attempt,
            heartbeat=self.heartbeat or self.adaptive.interval_s(self.network, foreground=self.state == "foreground"),
            window=options.window,
            state=self.state,
            sdk=SDK,
            network=self.network,
            features=options.features,
        )

    async def _next_attempt(self) -> tuple[str, int]:
        """Higher than any before within this run, whatever the store says."""
        install, last = self._identity or (None, 0)
        try:
            stored, attempt = await self._remember.next_attempt()
        except OSError as error:
            self._report(error)
            stored, attempt = install or new_install(), last + 1
        self._identity = (stored, max(attempt, last + 1) if stored == install else attempt)
        return self._identity
