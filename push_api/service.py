"""The one service object: what the push API does, whichever door the request came through.

HTTP (`asgi.py`) and gRPC (`grpc_server.py`) are a few lines a method over it. Errors leave it as TacoError; each door gives
them its own shape.
"""

from collections.abc import Callable, Sequence

from push_api.acceptance import Acceptance, Outcome
from push_api.admission import Admission
from push_api.auth import Authenticator
from push_api.decoding import join
from push_api.devices import DeviceService
from push_api.drafts import Draft
from push_api.models import MAX_PAGE, Message, MessageStatus
from push_api.readiness import Readiness
from push_api.tracking import Tracking
from push_api.validation import draft_of
from push_core.errors import Overloaded, TacoError, UserError
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import App


class PushService:
    """`devices`, `auth` and `readiness` are used as they are; messages go through the methods."""

    def __init__(
        self,
        *,
        auth: Authenticator,
        admission: Admission,
        acceptance: Acceptance,
        tracking: Tracking,
        devices: DeviceService,
        readiness: Readiness,
        metrics: Metrics,
    ) -> None:
        self.auth = auth
        self.admission = admission
        self.devices = devices
        self.readiness = readiness
        self._acceptance = acceptance
        self._tracking = tracking
        self._metrics = metrics

    async def send(self, app: App, read: Callable[[], Message], *, key: str | None, traceparent: str) -> int:
        """The message's id, once it is durable. `read` makes the message of the request or raises UserError; `key` is the request's
        idempotency key."""
        try:
            draft = draft_of(read(), key=key)
            if (turned_away := await self.admission.messages(app, [draft])) and turned_away[0] is not None:
                raise turned_away[0]
            outcome = (await self._acceptance.accept(app, [draft], traceparent))[0]
            if isinstance(outcome, TacoError):
                raise outcome
        except TacoError as error:
            self._refused(app, error)
            raise
        self._metrics.count(Metric.API_ACCEPTED, app=app.name)
        return outcome

    async def send_batch(
        self, app: App, read: Callable[[], Sequence[Message | UserError]], *, traceparent: str
    ) -> list[Outcome]:
        """An id or an error for each, in order. Raises UserError when the batch as a whole is at fault, Unavailable when nothing was accepted
        and a fault of ours is among the reasons: then all of it is to be repeated."""
        try:
            outcomes, drafts = _drafts(read())
            if drafts and (turned_away := await self.admission.messages(app, drafts)):
                outcomes, drafts = _without(turned_away, outcomes, drafts)
            accepted = iter(await self._acceptance.accept(app, drafts, traceparent) if drafts else ())
        except TacoError as error:
            self._refused(app, error)
            raise
        results = [
            _placed(next(accepted), index) if outcome is None else outcome for index, outcome in enumerate(outcomes)
        ]
        self._count(app, results)
        return results

    async def get_message(self, app: App, message_id: str, *, after: str | None, limit: int) -> MessageStatus:
        return await self._tracking.get(app, message_id, after=after, limit=limit)

    async def recall(self, app: App, message_id: str, *, traceparent: str) -> MessageStatus:
        return await self._tracking.recall(app, message_id, traceparent, limit=MAX_PAGE)

    def _count(self, app: App, results: Sequence[Outcome]) -> None:
        ours: TacoError | None = None
        accepted = 0
        for result in results:
            if isinstance(result, int):
                accepted += 1
                continue
            self._refused(app, result)
            if not isinstance(result, UserError):
                ours = result
        if accepted:
            self._metrics.count(Metric.API_ACCEPTED, accepted, app=app.name)
        elif ours is not None:
            raise ours

    def _refused(self, app: App, error: TacoError) -> None:
        self._metrics.count(Metric.API_REFUSED, app=app.name, code=error.code)


def _drafts(messages: Sequence[Message | UserError]) -> tuple[list[TacoError | None], list[Draft]]:
    """The refusals by place, None where there is a draft, and the drafts."""
    outcomes: list[TacoError | None] = []
    drafts: list[Draft] = []
    for index, message in enumerate(messages):
        refused: UserError | None = None
        if isinstance(message, UserError):
            refused = message
        else:
            try:
                drafts.append(draft_of(message, at=f"messages[{index}]"))
            except UserError as error:
                refused = error
        outcomes.append(refused)
    return outcomes, drafts


def _without(
    turned_away: Sequence[Overloaded | None], outcomes: Sequence[TacoError | None], drafts: Sequence[Draft]
) -> tuple[list[TacoError | None], list[Draft]]:
    """The same, those that are turned away taken from the drafts to the refusals."""
    answers = iter(turned_away)
    left = [draft for draft, refused in zip(drafts, turned_away, strict=True) if refused is None]
    return [next(answers) if outcome is None else outcome for outcome in outcomes], left


def _placed(outcome: Outcome, index: int) -> Outcome:
    """The outcome with its field named from the batch: the store knows a message, not its place."""
    if isinstance(outcome, UserError):
        field = join(f"messages[{index}]", outcome.field or "")
        return UserError(outcome.message, code=outcome.code, field=field)
    return outcome
