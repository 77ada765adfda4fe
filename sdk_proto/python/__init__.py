"""The Python SDK: a device that stays connected (README.md). Its parts carry the names of those of the JavaScript SDK."""

from sdk_proto.python.client import Client
from sdk_proto.python.delivery import DropPush
from sdk_proto.python.options import Options
from sdk_proto.python.status import Problem, Status
from sdk_proto.python.store import FileStore, MemoryStore
from sdk_proto.wire.frames import Push

__all__ = ["Client", "DropPush", "FileStore", "MemoryStore", "Options", "Problem", "Push", "Status"]
