"""Rerankers that are timed: modules as the contenders one folder up, except for what ``load`` returns.

It takes texts and returns their scores for :data:`benchmarks.speed.texts.QUERY`, in the order of the texts.
"""
