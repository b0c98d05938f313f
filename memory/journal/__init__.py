"""The journal: the append-only events of every run, the one truth of the system."""
