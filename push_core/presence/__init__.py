"""Presence: which node holds a device's connection. A cache of what gateways know; losing it loses nothing else."""
