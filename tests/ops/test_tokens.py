"""A minted token says what PROTOCOL.md asks of it, and no more."""

import jwt
import pytest

from ops.tokens import mint

SECRET = "s" * 43


def test_it_names_app_device_and_end() -> None:
    token = mint("demo", "d-1", SECRET, now_s=1_000, ttl_s=60)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"iss": "demo", "sub": "d-1", "exp": 1_060}


@pytest.mark.parametrize("ttl_s", [0, -1, 30 * 86_400 + 1])
def test_a_life_that_gateways_refuse_is_refused_here(ttl_s: int) -> None:
    with pytest.raises(ValueError, match="a token lives"):
        mint("demo", "d-1", SECRET, now_s=0, ttl_s=ttl_s)
