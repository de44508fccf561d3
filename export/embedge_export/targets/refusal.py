"""What is said of a tokenizer that no graph can have."""

from embedge.errors import ExportError


def refusal(reason: str) -> ExportError:
    """The error for a tokenizer that ``reason``, a sentence's end, rules out."""
    return ExportError(f"the bundle's tokenizer {reason}; ship tokenizer.json and a tokenizer for it instead")
