"""The device store: apps, devices, aliases, tags, vendor tokens."""
