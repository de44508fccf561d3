"""The site that `make docs` builds from these pages and the docstrings. Nothing in it is loaded from other hosts."""

import embedge

project = "embedge"
author = "The embedge authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name for it
version = release = embedge.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"embedge {release}"
html_show_sphinx = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_class_signature = "separated"  # with __init__ left out: objects are made by their class methods
autodoc_typehints = "signature"
autodoc_type_aliases = {"FloatArray": "FloatArray", "Dtype": "Dtype", "Overflow": "Overflow"}
# A role that leads nowhere is an error, but for other packages and for modules of ours that are no part of the API.
nitpick_ignore_regex = [("py:.*", r"(?!embedge).*"), ("py:.*", r"embedge(_export)?\.[a-z]+\.?.*")]
