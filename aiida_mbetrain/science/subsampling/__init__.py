"""Subsampling of frames: a few of many, by features or by chance.

Frames are divided into strata (source, temperature, size, orbit); from each, frames are chosen by farthest-point or
k-means selection in feature space, with a share chosen at random.  Duplicates are found first.
"""

from aiida_mbetrain.science.subsampling.choice import Picks, subsample

__all__ = ["Picks", "subsample"]
