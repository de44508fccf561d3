"""Bundles made into files of other forms: a graph that takes texts, and ONNX Runtime's own format.

:mod:`.single_file` writes the tokenizer into the graph (:mod:`.characters`, :mod:`.words`, :mod:`.tokenization`);
:mod:`.ort_format` converts what it wrote.
"""
