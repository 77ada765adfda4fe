"""Redis as the stores see it: batches of commands to one server, a server behind Sentinel, or a Cluster. Knows no port and no key but tags."""
