"""The operators of embedge-kernels against ONNX Runtime's own kernels: ``python -m benchmarks.kernels``."""
