"""Networks of other libraries: PyTorch's in and out, ONNX out."""
