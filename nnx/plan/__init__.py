"""A model lowered to bound operations over buffers, and its update as one step that a backend may capture."""

from ._lower import lower
from ._parallel import ParallelPlan
from ._plan import Plan, Program, infer
from ._precision import check_precision
from ._stages import Stage, stage_of
from ._step import Captured, TrainingStep

__all__ = [
    "Captured",
    "ParallelPlan",
    "Plan",
    "Program",
    "Stage",
    "TrainingStep",
    "check_precision",
    "infer",
    "lower",
    "stage_of",
]
