"""Calcfunctions: unwrap the nodes, call the science, wrap the result."""
