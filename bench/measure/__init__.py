"""When to stop: warm-up, sampling and its stopping rule, over any backend's blocks."""
