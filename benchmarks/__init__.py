"""How far each stage is from the model's own time, and how it grows: ``python -m benchmarks``."""
