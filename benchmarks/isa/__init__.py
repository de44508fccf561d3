"""Vectors on CPUs that this machine does not have, by emulation: ``make isa``."""
