"""Scripts as users write them, with this package and with others, for :mod:`benchmarks.rivals`.

Each takes the file of a MACE model and an extended XYZ file, and prints a number that both of a pair must agree on.
"""
