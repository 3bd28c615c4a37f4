"""Runs the CUDA sources on the CPU: g++ and one fiber per CUDA thread. Needs g++, no GPU, no CUDA."""

from ._backend import EmulatedBackend, EmulatedDevice
from ._module import Kernel, Module, compiler

__all__ = ["EmulatedBackend", "EmulatedDevice", "Kernel", "Module", "compiler"]
