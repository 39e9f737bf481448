"""Names for arrays: what a parameter holds, where a comment beside it says its shape.

The letters of shapes are the same everywhere: N customers or rows, S states, A actions, F features,
T ticks, K clusters, M consent patterns, R reward components, P personas, C channels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
"""Probabilities, values, money, observations."""

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
"""States, actions, days, bit patterns, positions in tables."""

Mask: TypeAlias = npt.NDArray[np.bool_]
"""What is legal, kept or true."""

Packed: TypeAlias = npt.NDArray[np.int64]
"""A journey's rules as one flat array; see `journey/packed.py`."""

Array: TypeAlias = npt.NDArray[Any]
"""Numbers whose type is the caller's business."""
