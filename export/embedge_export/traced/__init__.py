"""Encoders without a hand-written graph: traced by optimum, fused, rewritten. Needs the extra ``embedge[optimum]``."""
