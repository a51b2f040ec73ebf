"""Workers of a Dask cluster as places. Here alone `distributed` is imported.

Dask carries jobs and answers; it schedules nothing, each job names its worker. On the worker a job runs in a fresh
process, so that nothing of one is left for the next, and its lines come back as events, as they are made.

Whoever can reach a scheduler without TLS can run code on it: Dask has no other protection, and this adds none. A
scheduler keeps the last thousand or so lines of every run until it ends.
"""
