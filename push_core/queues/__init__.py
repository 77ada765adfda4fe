"""Queues of envelope batches, by class × priority, and one for each vendor channel."""
