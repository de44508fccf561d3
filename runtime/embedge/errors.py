"""Every error that embedge raises on purpose.

::

    EmbedgeError
    ├── BundleError            a bundle can't be opened: missing files, paths that leave it
    │   ├── BundleCorrupt      its bytes are not the ones it was sealed with
    │   └── UnsupportedFormat  it was written in a format that this version can't read
    ├── CheckpointError        a checkpoint can't be read, or its weights are not what they should be
    ├── ExportError            a checkpoint was read, but no bundle could be written
    │   └── FidelityError      the bundle would not give the checkpoint's vectors
    ├── InputError             a text can't be embedded (also a ValueError)
    ├── PackError              a bundle can't be packed for where it is to run
    └── ProviderError          ONNX Runtime can't run here as asked

Arguments raise built-in errors beside these: ``TypeError`` for one of the wrong type, such as one ``str`` in place of a
list of texts, and ``ValueError`` for an option outside its choices.
"""


class EmbedgeError(Exception):
    """The root: ``except EmbedgeError`` catches whatever embedge reports."""


class BundleError(EmbedgeError):
    """A bundle can't be opened."""


class BundleCorrupt(BundleError):
    """A file of the bundle does not have the bytes it was sealed with."""


class UnsupportedFormat(BundleError):
    """The bundle's format version is not one this version of embedge reads."""


class CheckpointError(EmbedgeError):
    """A checkpoint can't be read or can't be used."""


class ExportError(EmbedgeError):
    """No bundle could be written."""


class FidelityError(ExportError):
    """The bundle's vectors are too far from the checkpoint's; nothing was written."""


class InputError(EmbedgeError, ValueError):
    """A text can't be embedded; the message names its index."""


class PackError(EmbedgeError):
    """A bundle can't be packed for where it is to run; nothing was written."""


class ProviderError(EmbedgeError):
    """ONNX Runtime can't run the model here as asked."""
