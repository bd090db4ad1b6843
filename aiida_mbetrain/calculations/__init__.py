"""AiiDA processes that compute: one CalcJob per heavy stage, and the calcfunctions in ``functions``."""
