"""Running Taco: the CLI, all three programs in one process, runbooks."""
