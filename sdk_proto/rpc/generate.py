"""Makes `push_pb2*.py` from `push.proto`: `python -m sdk_proto.rpc.generate`. Needs grpcio-tools; the result is committed.

protoc writes `import push_pb2`, which would need this folder on the path; here it becomes an import from the package.
"""

import re
import sys
from importlib import resources
from pathlib import Path

HERE = Path(__file__).parent
PRODUCTS = ("push_pb2.py", "push_pb2.pyi", "push_pb2_grpc.py")


def generate(into: Path) -> None:
    """Write the products to the folder. Raises RuntimeError when protoc refuses the file."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # it has no stubs

    status = protoc.main(
        [
            "protoc",
            f"-I{HERE}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            f"--grpc_python_out={into}",
            "push.proto",
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc ended with {status}")
    types = into / "push_pb2.pyi"
    # A bare Mapping is an error to strict type checkers.
    types.write_text(re.sub(r"\b_Mapping\]", "_Mapping[str, object]]", types.read_text()))
    stub = into / "push_pb2_grpc.py"
    text = stub.read_text().replace("import push_pb2 as push__pb2", "from sdk_proto.rpc import push_pb2 as push__pb2")
    stub.write_text(f"# mypy: ignore-errors\n{text}")


if __name__ == "__main__":
    generate(HERE)
    sys.stdout.write(f"written: {', '.join(PRODUCTS)}\n")
