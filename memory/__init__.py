"""What Loopwright remembers: the journal of every run, and the embedded Redis that keeps it."""
