"""Training sets for delta-learning of interatomic potentials of molecular crystals, made with AiiDA."""

__version__ = "0.1.0"
