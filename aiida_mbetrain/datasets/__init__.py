"""Datasets: from science objects and their provenance to one file and back.  Nothing here imports aiida."""
