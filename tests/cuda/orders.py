"""The orders of warps in which the emulator runs the kernels."""

ORDERS = (0, 1, 7, 11)
"""Ascending, descending, and two random ones."""
