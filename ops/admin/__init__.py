"""Seeing inside a running process: its admin port, what holds its loop, what its tasks wait for, what fills its memory."""
