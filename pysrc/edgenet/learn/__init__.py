"""Learning in the moment: MicroLoRA adapters, per-operator scopes, trajectories. Runs anywhere, on any engine or on NumPy."""

from .microlora import MicroLoRA
from .scoped import CATEGORIES, SCOPES, ScopedLoRA
from .trajectory import TrajectoryBuffer

__all__ = ["CATEGORIES", "SCOPES", "MicroLoRA", "ScopedLoRA", "TrajectoryBuffer"]
