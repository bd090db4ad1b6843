"""Arrays in, arrays out: the physics of every stage.

Nothing here imports aiida: this is what runs on the compute node.
"""
