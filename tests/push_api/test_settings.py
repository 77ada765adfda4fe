from dataclasses import fields

import pytest

from push_api.settings import SECTION, ApiSettings
from push_core.errors import ConfigError
from push_core.settings import describe, load


def test_every_setting_says_what_it_is_for() -> None:
    lines = describe(ApiSettings, SECTION)
    assert len(lines) == len(fields(ApiSettings))
    assert all(field.metadata["doc"].endswith(".") for field in fields(ApiSettings))


@pytest.mark.parametrize(
    ("key", "value"), [("port", 70_000), ("grpc_port", -2), ("commit_batch", 501), ("request_timeout_s", 0)]
)
def test_a_value_out_of_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        load(ApiSettings, SECTION, tables={SECTION: {key: value}})


def test_grpc_can_be_left_off_from_the_environment() -> None:
    assert load(ApiSettings, SECTION, env={"TACO_API_GRPC_PORT": "-1"}).grpc_port == -1
