"""ONNX graphs, written operator by operator: for the CPU, and for CUDA."""
