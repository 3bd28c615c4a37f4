"""Device code of the backends: cpu/ (Numba) and cuda/ (CUDA C++). It imports neither nnx nor a backend."""
