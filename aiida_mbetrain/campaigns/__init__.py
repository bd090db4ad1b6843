"""Campaigns: training sets of many crystals, models, temperatures and pressures, as one plan and one dataset.

A campaign is one YAML file (``settings``, ``sources``).  It is expanded into stages that members share (``plan``,
``costs``), which become graphs of the stage WorkChains (``graph``); what is finished, running, failed or missing is
read from the provenance graph (``state``), and what is finished is exported to one file (``export``).
"""
