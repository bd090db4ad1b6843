"""Datasets: from science objects and their provenance to one file and back; only ``graph`` knows AiiDA."""
