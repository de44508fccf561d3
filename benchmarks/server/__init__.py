"""``embedge serve`` under load, beside other servers of the same weights: ``python -m benchmarks.server``."""
