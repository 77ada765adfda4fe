"""Gateways: hold the phones' WebSockets, deliver, collect acks. Imports push_core and sdk_proto."""
