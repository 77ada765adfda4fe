from pathlib import Path

import pytest

from sdk_proto.rpc.generate import HERE, PRODUCTS, generate


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_committed_code_is_what_the_proto_file_makes(name: str, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    generate(tmp_path)
    assert (HERE / name).read_text() == (tmp_path / name).read_text(), "run python -m sdk_proto.rpc.generate"


def test_the_generated_code_is_imported_from_its_package() -> None:
    assert "from sdk_proto.rpc import push_pb2" in (HERE / "push_pb2_grpc.py").read_text()
