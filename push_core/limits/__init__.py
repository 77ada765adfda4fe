"""Token buckets that all processes share: how much an app, or an address, may ask for."""
