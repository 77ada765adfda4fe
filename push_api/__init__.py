"""The push API: HTTP and gRPC over one service object. Imports push_core and sdk_proto."""
