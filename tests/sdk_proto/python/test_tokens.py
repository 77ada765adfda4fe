import asyncio

import pytest

from sdk_proto.python import tokens
from sdk_proto.python.tokens import Tokens


async def test_a_fixed_token_is_always_the_same_and_cannot_be_renewed() -> None:
    fixed = Tokens("t")
    assert not fixed.can_renew
    fixed.refuse(4200)
    assert await fixed.get() == "t"


async def test_a_provider_is_asked_once_and_again_after_a_refusal() -> None:
    asked: list[int | None] = []

    async def provider(code: int | None) -> str:
        asked.append(code)
        return f"t{len(asked)}"

    renewed = Tokens(provider)
    assert renewed.can_renew
    assert [await renewed.get(), await renewed.get()] == ["t1", "t1"]
    renewed.refuse(4201)
    assert await renewed.get() == "t2"
    assert asked == [None, 4201]


async def test_a_lambda_around_a_coroutine_will_do() -> None:
    async def provider() -> str:
        return "t"

    assert await Tokens(lambda code: provider()).get() == "t"


@pytest.mark.parametrize("given", ["", None, 7, b"t"])
async def test_what_is_no_token_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match="no token"):
        await Tokens(lambda code: given).get()  # type: ignore[arg-type,return-value]


async def test_a_provider_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "PROVIDER_TIMEOUT_S", 0.01)

    async def hangs(code: int | None) -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(TimeoutError):
        await Tokens(hangs).get()
