"""Checkpoints to bundles. Needs the extra: ``pip install 'embedge[export]'``.

>>> from embedge_export import export
>>> report = export("BAAI/bge-small-en", "models/bge-small-en")
"""

from embedge_export.pipeline import ExportReport, export

__all__ = ["ExportReport", "export"]
