"""How fast and how small embedge and its peers are, side by side: ``python -m benchmarks.speed``."""
