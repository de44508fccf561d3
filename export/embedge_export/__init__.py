"""Checkpoints to bundles. Needs the extra: ``pip install 'embedge[export]'``.

>>> from embedge_export import export
>>> exported = export("BAAI/bge-small-en", "models/bge-small-en")
"""

from embedge_export.inspection import Inspection, inspect
from embedge_export.pipeline import Exported, export

__all__ = ["Exported", "Inspection", "export", "inspect"]
