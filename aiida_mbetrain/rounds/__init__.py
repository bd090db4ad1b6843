"""Rounds of active learning: sample with the current model, label what it is least sure of, train, and again.

One YAML file (``settings``) says crystal, baseline, reference method and when to stop.  Finished rounds and
the reason to stop are read from the provenance graph (``state``); what is missing runs in this process, or as a
WorkGraph in the daemon (``run``, ``graph``).
"""
