"""The sums of a MACE model on a CPU with a fraction of the memory traffic: the same numbers, two to three times faster.

e3nn writes an array of (edges, channels, harmonics) for every tensor product, and reads it back to sum it over the
edges of each atom; MACE's product basis writes one of (atoms, channels, harmonics²).  On a CPU their traffic is most
of an evaluation.  ``fuse`` replaces, in a loaded model,

- the convolution (``convolution``): products of matrices, receiver by receiver, in place of the edge array;
- the product basis (``contraction``): polynomials whose gradient comes with their value;
- the self-connection (``self_connection``): a matrix for each element in place of products with one-hot vectors;
- the radial embedding (``radial``): once for both directions of an edge.

What is not made of e3nn's own modules stays as it is.
"""

from aiida_mbetrain.science.potentials.mace.fused.fuse import FusedModules, fuse
from aiida_mbetrain.science.potentials.mace.fused.mace_modules import MaceModule

__all__ = ["FusedModules", "MaceModule", "fuse"]
