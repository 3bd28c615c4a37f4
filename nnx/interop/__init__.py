"""Networks of other libraries: from PyTorch and to it, and to ONNX."""
