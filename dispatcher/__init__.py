"""Dispatchers: take batches from the queues, deliver to gateways, settle, fall back to vendors, take receipts, relay."""
