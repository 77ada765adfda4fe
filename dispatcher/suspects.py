"""Bodies that kill whoever handles them. A broker tells that a body was handed out before, not how often; so each program that begins with a body
that came back claims it, and gives the claim back when it is done. The claims that are left are of programs that died over it.
"""

import contextlib
import hashlib

from push_core.claims.port import Claim, Claims
from push_core.errors import Unavailable

REMEMBERED_S = 3_600.0


class Suspects:
    """`holder` names this life of this program; `most` is as far as is counted."""

    def __init__(self, claims: Claims, holder: str, *, most: int) -> None:
        self._claims = claims
        self._holder = holder
        self._most = most

    async def deaths(self, body: bytes) -> int:
        """How many other programs have begun with this body and never said that they were done; `most` at most. Remembers that this one begins. 0
        while claims can't be asked."""
        name = _name(body)
        try:
            for deaths in range(self._most):
                (claim,) = await self._claims.take([f"{name}.{deaths}"], self._holder, REMEMBERED_S)
                if claim is Claim.GRANTED:
                    return deaths
        except Unavailable:
            return 0
        return self._most

    async def done(self, body: bytes) -> None:
        """This program got through it."""
        name = _name(body)
        with contextlib.suppress(Unavailable):  # it runs out
            await self._claims.give_back([f"{name}.{deaths}" for deaths in range(self._most)], self._holder)


def _name(body: bytes) -> str:
    return f"intake.{hashlib.blake2b(body, digest_size=12).hexdigest()}"
