"""The embedded model: a small language model of our own, decoded on the CPU."""
