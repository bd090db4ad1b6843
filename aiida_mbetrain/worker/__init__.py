"""The program ``mbetrain-worker``, which runs one heavy stage on a compute node; it needs no AiiDA there."""
