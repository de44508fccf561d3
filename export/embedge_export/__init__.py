"""Checkpoints to bundles, and bundles to files of other forms. Needs the extra: ``pip install 'embedge[export]'``.

>>> from embedge_export import export
>>> exported = export("BAAI/bge-small-en", "models/bge-small-en")
"""

from embedge_export.inspection import Inspection, inspect
from embedge_export.pipeline import Exported, export
from embedge_export.targets.convert import convert

__all__ = ["Exported", "Inspection", "convert", "export", "inspect"]
