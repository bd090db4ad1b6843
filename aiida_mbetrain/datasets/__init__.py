"""Datasets: from science objects and their provenance to one file and back; only ``from_graph`` knows AiiDA."""
