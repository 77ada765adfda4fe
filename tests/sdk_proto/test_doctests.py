"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import sdk_proto

MODULES = [
    module.name
    for module in pkgutil.walk_packages(sdk_proto.__path__, "sdk_proto.")
    if not module.ispkg and not module.name.endswith(("_pb2", "_pb2_grpc", ".rpc", "__main__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
