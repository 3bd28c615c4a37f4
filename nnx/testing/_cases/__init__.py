"""The table: every operation with the sizes and values at which implementations go wrong."""

from . import formulas, layers, losses, memory, optimizers, pictures, precision, randomness

CASES = (
    *memory.CASES,
    *layers.CASES,
    *pictures.CASES,
    *randomness.CASES,
    *losses.CASES,
    *precision.CASES,
    *optimizers.CASES,
    *formulas.CASES,
)
