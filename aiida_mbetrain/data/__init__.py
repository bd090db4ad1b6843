"""AiiDA node types, and the conversion between nodes and science objects."""
