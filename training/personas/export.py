"""A policy on (state, belief) as one ONNX graph: the prior's tables and the network together.

The graph finds the state in the observation, weighs its rows by the belief and adds the step
along the network, so the reader needs nothing but the observation, as for any other network.
`values` are what an action is worth today if the baseline's plan is followed from tomorrow on:
exact under the belief for the mean model's plan, too high for QMDP's. They price exploration;
the learned policy's own are not known. Of `probabilities` only the order means anything.

P personas, M consent patterns, S kernel states, A actions, L levels of a state, N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from envs.arrays import Floats, Ints
from envs.journey.state import COLUMN
from envs.personas.models import Hidden
from envs.policy.bundle import Parity
from envs.policy.consents import nearest_patterns
from envs.policy.policy import Policy
from envs.solve.kernel import state_observations
from training.network import graph_to_onnx
from training.parts.prior import ILLEGAL
from training.personas.env import Baseline
from training.personas.ppo import Corrected

PARITY_ROWS = 32
_DEEPEST = 60.0  # of a logarithm: no action underflows to 0 in float32


class BeliefGraph(nn.Module):
    """`forward` gives probabilities and values, both (N, A), for observations (N, L + P)."""

    logits: Tensor
    q: Tensor
    consent: Tensor
    strides: Tensor
    blocks: Tensor

    def __init__(self, hidden: Hidden, policy: Corrected) -> None:
        super().__init__()
        kernel, encoding, rules = hidden.kernels[0], hidden.journey.encoding, hidden.journey.rules
        source = encoding.source
        self.network, self.step = policy.network, policy.step
        self.personas, self.states, self.churned = hidden.count, kernel.states, int(rules.churned)
        self.register_buffer("logits", torch.from_numpy(by_row(policy.base.logits)))
        self.register_buffer("q", torch.from_numpy(by_row(action_values(policy.base))))
        consent = np.where(source < 0, 1 << np.maximum(-1 - source, 0), 0)
        strides = np.where(source < 0, 0, np.asarray(rules.strides)[np.maximum(source, 0)])
        self.register_buffer("consent", torch.from_numpy(consent.astype(np.int64)))
        self.register_buffer("strides", torch.from_numpy(strides.astype(np.int64)))
        blocks = nearest_patterns(kernel.consents, int(rules.sizes[COLUMN.consent]))
        self.register_buffer("blocks", torch.from_numpy(blocks))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """The exported graph."""
        width = self.consent.shape[0]
        levels, belief = observation[:, :width].round().long(), observation[:, width:]
        block = self.blocks.index_select(0, (levels * self.consent).sum(dim=1))
        # the churned stage lies beyond the table; whoever is in it only waits
        state = (levels * self.strides).sum(dim=1).clamp(0, self.states - 1)
        row = block * self.states + state
        logits = self._weighed(self.logits, row, belief)
        if self.network is not None:
            logits = logits + self.step * self.network.logits(observation)
        behind = logits.amax(dim=1, keepdim=True) - logits
        # order is kept however far behind an action is: the best one may be forbidden on the day
        probabilities = torch.softmax(-behind / (1.0 + behind / _DEEPEST), dim=1)
        living = (levels[:, :1] < self.churned).to(observation.dtype)
        return probabilities, living * self._weighed(self.q, row, belief)

    def _weighed(self, table: Tensor, row: Tensor, belief: Tensor) -> Tensor:
        """(N, A) rows of a table (M·S, P·A) weighed by the belief (N, P)."""
        rows = table.index_select(0, row).reshape(-1, self.personas, table.shape[1] // self.personas)
        return (belief.unsqueeze(2) * rows).sum(dim=1)


def to_file(hidden: Hidden, policy: Corrected) -> bytes:
    """The policy as an ONNX file, read by `envs.policy.policy.NetworkPolicy`."""
    return graph_to_onnx(BeliefGraph(hidden, policy), len(hidden.journey.encoding.names))


def action_values(base: Baseline) -> Floats:
    """(P, M, S, A) Q_p of the baseline's plan; an illegal action is worse than any legal one."""
    legal = base.logits > ILLEGAL / 2
    return base.values[..., None] + np.where(legal, base.gains, base.gains.min() - 1.0)


def by_row(table: Floats) -> Floats:
    """(P, M, S, A) as float32 rows (M·S, P·A)."""
    personas, blocks, states, actions = table.shape
    rows = np.moveaxis(table, 0, 2).reshape(blocks * states, personas * actions)
    return np.ascontiguousarray(rows, dtype=np.float32)


def random_rows(hidden: Hidden, rows: int, seed: int) -> tuple[Ints, Ints, Floats, Floats]:
    """`rows` states at random beliefs: consent blocks, kernel states, beliefs (N, P), observations."""
    random, kernel = np.random.default_rng(seed), hidden.kernels[0]
    block = random.integers(0, len(kernel.consents), rows)
    state = random.integers(0, kernel.states, rows)
    belief = random.dirichlet(np.ones(hidden.count), rows)
    observed = np.stack([state_observations(kernel, m) for m in range(len(kernel.consents))])[block, state]
    observed[:, len(hidden.journey.encoding.levels) :] = belief
    return block, state, belief, observed


def parity(hidden: Hidden, policy: Policy, seed: int) -> Parity:
    """Answers that every reader of the file must reproduce."""
    observations = random_rows(hidden, PARITY_ROWS, seed)[3]
    probabilities: Any = policy.raw(observations)
    return Parity(observations=observations.tolist(), probabilities=probabilities.tolist())
