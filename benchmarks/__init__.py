"""Benchmarks of every stage against the time of the model, and of its growth: ``python -m benchmarks``."""
