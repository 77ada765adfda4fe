"""Versioned runtime configuration: shard map, switches, limits."""
