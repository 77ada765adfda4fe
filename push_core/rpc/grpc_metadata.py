"""What calls carry beside their body: names of metadata, and how it is read."""

from typing import Any

KEY = "taco-cluster-key"
VERSION = "taco-rpc"
TRACE = "traceparent"
UNDONE = "taco-undone"  # trailing metadata: refused before anything was done
Option = tuple[str, int | str]


def as_dict(metadata: Any) -> dict[str, str]:
    """Text entries of gRPC metadata; the stubs know neither that it is iterable nor that it may be None."""
    return {key: value for key, value in metadata or () if isinstance(value, str)}
