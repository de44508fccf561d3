"""Times embedge's fp16 on an NVIDIA GPU beside its peers."""
