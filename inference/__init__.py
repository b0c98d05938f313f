"""Model endpoints: one contract, several implementations, and the constraints on what a model may write."""
