"""`taco.v1` as pure objects: bytes in, events out, no await, `now` as an argument. The gateway and the Python SDK share it."""
