"""Counters, gauges and timings, named in one catalogue."""
