"""Processes that stand in for the world in chaos tests and benchmarks: a model server, and clients that cost little."""
