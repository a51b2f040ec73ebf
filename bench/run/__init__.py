"""Does the plan: a backend, the cells, one record per process, events for whoever watches."""
