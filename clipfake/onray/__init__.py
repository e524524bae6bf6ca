"""Ray, and nothing else: the connection, the nodes, tasks, trainings, and what Prometheus sees."""
