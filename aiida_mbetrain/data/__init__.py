"""AiiDA node types, and the one place that knows how a node and a science object correspond."""
