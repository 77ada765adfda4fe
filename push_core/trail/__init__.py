"""The trail: the searchable history of deliveries. Never in the way: what it can't take is dropped with a count."""
