"""What off-policy learners are made of: a ring of the last transitions as arrays, and their targets.

Holds observations, not states, and legal actions as bits. A cut is kept with the state it was cut
in, so it is bootstrapped; only churn has a discount of 0. Draws are uniform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.arrays import Array
from envs.day.masks import unpack


@dataclass(frozen=True)
class Batch:
    """B transitions; `_tm1` before the decision, `_t` after it."""

    x_tm1: Tensor  # (B, F)
    a_tm1: Tensor  # (B,)
    r_t: Tensor  # (B,)
    discount_t: Tensor  # (B,) 0 after a churn
    x_t: Tensor  # (B, F)
    legal_t: Tensor  # (B, A)


class ReplayBuffer:
    """The last `capacity` transitions of F features and A actions."""

    def __init__(self, capacity: int, sizes: tuple[int, ...], actions: int) -> None:
        # levels are small integers; beliefs are not
        kind = np.uint8 if all(0 < size <= 256 for size in sizes) else np.float32
        self.capacity, self.actions, self.added = capacity, actions, 0
        self.rows: dict[str, Any] = {
            "x_tm1": np.zeros((capacity, len(sizes)), kind),
            "x_t": np.zeros((capacity, len(sizes)), kind),
            "a_tm1": np.zeros(capacity, np.uint8),
            "r_t": np.zeros(capacity, np.float32),
            "discount_t": np.zeros(capacity, np.float32),
            "legal_t": np.zeros(capacity, np.int64),
        }

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, **columns: Array) -> None:
        """Add a day of N customers; the oldest transitions make room."""
        count = len(columns["a_tm1"])
        places = (self.added + np.arange(count)) % self.capacity
        for name, column in columns.items():
            self.rows[name][places] = column
        self.added += count

    def draw(self, random: np.random.Generator, size: int) -> Batch:
        """`size` transitions, uniformly with replacement."""
        drawn = random.integers(0, len(self), size)
        some = {name: column[drawn] for name, column in self.rows.items()}
        return Batch(
            x_tm1=torch.from_numpy(some["x_tm1"].astype(np.float32, copy=False)),
            a_tm1=torch.from_numpy(some["a_tm1"].astype(np.int64)),
            r_t=torch.from_numpy(some["r_t"]),
            discount_t=torch.from_numpy(some["discount_t"]),
            x_t=torch.from_numpy(some["x_t"].astype(np.float32, copy=False)),
            legal_t=torch.from_numpy(unpack(some["legal_t"], self.actions)),
        )

    def state(self) -> dict[str, object]:
        """What a checkpoint holds: the rows that are filled."""
        rows = {name: column[: len(self)].copy() for name, column in self.rows.items()}
        return {"added": self.added, "rows": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.added = int(state["added"])
        for name, column in state["rows"].items():
            self.rows[name][: len(self)] = column


def generator_state(random: np.random.Generator) -> dict[str, object]:
    """A generator's state, its 128-bit numbers as text: a checkpoint's integers are 64 bits wide."""
    state = dict(random.bit_generator.state)
    return state | {"state": {name: str(number) for name, number in state["state"].items()}}


def set_generator(random: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a generator where `generator_state` was taken."""
    numbers = {name: int(number) for name, number in state["state"].items()}
    random.bit_generator.state = dict(state) | {"state": numbers}


def masked_argmax(q: Tensor, legal: Tensor) -> Tensor:
    """(N,) the legal action of the largest `q`."""
    return q.masked_fill(~legal, -torch.inf).argmax(dim=1)


def double_target(
    r_t: Tensor, discount_t: Tensor, q_t_selector: Tensor, q_t_value: Tensor, legal_t: Tensor
) -> Tensor:
    """(N,) r + γ Q_value(x', argmax over legal a of Q_selector(x', a)).

    Van Hasselt, Guez and Silver (2016), with the mask in the argmax; the value is read at that
    legal action only. `discount_t` (N,) is 0 where the journey ended.
    """
    chosen = masked_argmax(q_t_selector, legal_t)
    ahead = q_t_value.gather(1, chosen[:, None]).squeeze(1)
    return r_t + discount_t * ahead
