"""What DSNs of SQL stores look like: the names that settings and their documentation need, without a driver."""

SCHEMES = ("sqlite", "mysql", "mariadb")
OPTIONS = (
    "options writers and readers for the number of connections, timeout_s, connect_timeout_s, lock_wait_s, partition_days, "
    "socket, tls off, prefer, require or verify, ca, durability"
)
