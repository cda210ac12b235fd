"""Speed and memory of the kit beside its peers, as ratios: `make bench` or ``python -m benchmarks``."""
