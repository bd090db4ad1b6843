"""WorkChains: the stages chained, with every step in the provenance graph."""
