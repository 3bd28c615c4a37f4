"""Numba kernels: fused passes over C-contiguous arrays of float32 or float64, without the interpreter lock."""
