"""What the outside may depend on: the protocol, its pure codec and sessions, the public gRPC, vectors and SDKs. Imports nothing of ours."""
