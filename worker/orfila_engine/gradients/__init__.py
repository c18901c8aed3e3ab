"""Randomly projected per-example gradients of Conv2d and Linear layers, without forming a full gradient.

Layout, obeyed everywhere in this package (N examples, P positions, C channels, k projected coordinates):

- activations after projection and output gradients: [N, C, P], whatever the memory order behind the view
- the gradient of one layer: G = P_B (sum_p b_p a_p^T) P_A^T, [N, k_b, k_a], with a_p a column of unfolded inputs in the
  order of `weight.flatten(1)`, and a last coordinate of 1 where the layer has a bias
- the gradient of a model: [N, D], the layers' G flattened and joined in the order of execution
"""

from orfila_engine.gradients.layers import IndexedLayer, LeftOut
from orfila_engine.gradients.objectives import cross_entropy, measurement, recording
from orfila_engine.gradients.projector import GradientProjector, ProjectionSpec

__all__ = [
    "GradientProjector",
    "IndexedLayer",
    "LeftOut",
    "ProjectionSpec",
    "cross_entropy",
    "measurement",
    "recording",
]
