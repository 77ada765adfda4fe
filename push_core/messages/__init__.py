"""The message store: the truth about messages, deliveries, idempotency keys, inboxes, later work and issuer leases."""
