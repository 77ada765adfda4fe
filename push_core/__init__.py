"""What the programs must agree on: ids, shards, models, the table of states, and one folder for each port.

Imports nothing of ours. A driver (sqlalchemy, grpc, redis, …) is imported only in the file named after it.
"""
