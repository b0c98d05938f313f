"""The frameworks that the benchmarks run beside ours, one file each; they live in an environment of their own."""
