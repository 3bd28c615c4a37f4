"""Runs the CUDA sources on the CPU: g++ and one fiber per CUDA thread. Needs g++, no GPU, no CUDA."""

from ._backend import EmulatedBackend, EmulatedDevice
from ._module import Module, compiler

__all__ = ["EmulatedBackend", "EmulatedDevice", "Module", "compiler"]
