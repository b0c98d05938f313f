"""The embedded model: a small language model of our own, decoded on the CPU under the constraint of each step.

It picks tools and fills in arguments for plain requests; it knows nothing of the world. docs/embedded-model.md has
the recipe and the figures.
"""

from .checkpoint import Checkpoint
from .endpoint import EmbeddedEndpoint

__all__ = ["Checkpoint", "EmbeddedEndpoint"]
