"""A load client in C: thousands of devices and callers for a few microseconds a push, where one in Python takes a third of the machine.

`build.py` compiles it when it is first needed; `process.py` starts and asks it. The protocol is told by `main.c`.
"""
