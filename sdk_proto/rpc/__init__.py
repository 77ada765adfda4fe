"""The push API over gRPC: `push.proto` and the code made from it (`python -m sdk_proto.rpc.generate`). Knows nothing of the server."""
