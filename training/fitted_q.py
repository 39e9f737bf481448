"""Fitted Q iteration on a log: several networks on the same targets, averaged before the maximum.

    y(x, a) = mean of r + γ V(x'),   V(x') = max over legal a of the networks' mean Q(x', a)

Ernst, Geurts and Wehenkel (2005). What one network overrates by chance the others do not, and the
maximum finds less of it. Each minimises the squared error plus a conservative penalty over legal
actions (Kumar et al., 2020). Smooth units: between states that the log seldom visits, kinks follow
the noise. Nothing is learned of how customers move; equal decisions in equal states are only added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.log_transitions import ENDED, Transitions
from training.network import OneHot, PolicyNetwork, trunk
from training.q_learning import conservative_gap, double_target
from training.replay_buffer import generator_state, set_generator

UNIT = nn.Tanh


class Logged:
    """A log's decisions, equal ones added up. U states, A actions."""

    def __init__(self, log: Transitions, power: float) -> None:
        states, actions = log.legal.shape
        self._shape = (states, actions)
        self._cell = log.at.astype(np.int64) * actions + log.action
        self._next, self._reward = log.next, log.reward
        count = np.bincount(self._cell, minlength=states * actions).reshape(self._shape)
        self.share = count / count.sum()  # (U, A) of all decisions
        self._each = 1.0 / np.maximum(count, 1)
        # common states are drawn less often than they occur, and weigh more instead
        odds = count.sum(axis=1) ** power
        odds = odds / odds.sum()
        self._cumulative = np.cumsum(odds)
        weight = np.divide(self.share, odds[:, None], where=count > 0, out=np.zeros(self._shape))
        self.weight = torch.from_numpy(weight.astype(np.float32))

    def targets(self, values: Any, discount: float, scale: float) -> tuple[Tensor, float]:
        """(U, A) mean of r + γ V(x') without their overall mean, and that mean; `values` (U,)."""
        ahead = np.where(self._next == ENDED, 0.0, values[self._next])
        goal = scale * self._reward + discount * ahead
        cells = self._shape[0] * self._shape[1]
        mean = np.bincount(self._cell, goal, minlength=cells).reshape(self._shape) * self._each
        shift = float((self.share * mean).sum())
        return torch.from_numpy((mean - shift).astype(np.float32)), shift

    def draw(self, random: np.random.Generator, size: int) -> Tensor:
        """(size,) states."""
        drawn = np.searchsorted(self._cumulative, random.random(size))
        return torch.from_numpy(np.minimum(drawn, self._shape[0] - 1))


class Member:
    """One network: what a state is worth, and what each action adds."""

    def __init__(self, width: int, hidden: list[int], actions: int, settings: Any) -> None:
        self.gaps, self.level = trunk(width, hidden, actions, UNIT), trunk(width, hidden, 1, UNIT)
        self.optimizer = torch.optim.AdamW(
            [*self.gaps.parameters(), *self.level.parameters()],
            lr=settings.learning_rate, weight_decay=settings.weight_decay,
        )  # fmt: skip

    def q(self, ones: Tensor) -> Tensor:
        """(N, A) without the targets' mean."""
        out: Tensor = self.level(ones) + self.gaps(ones)
        return out

    def parts(self) -> dict[str, Any]:
        """What is learned, by name."""
        return {"gaps": self.gaps, "level": self.level, "optimizer": self.optimizer}


class FittedQ:
    """Networks that learn from their own mean."""

    def __init__(
        self, log: Transitions, sizes: tuple[int, ...], settings: Any, discount: float, seed: int
    ) -> None:
        self.settings, self.discount, self.iteration = settings, discount, 0
        self.random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self._sizes, one_hot = sizes, OneHot(sizes)
        self.ones = one_hot(torch.from_numpy(log.observations))
        self.legal = torch.from_numpy(log.legal)
        self.scale = 1.0 / max(float(np.sqrt((log.reward**2).mean())), 1e-12)
        self.logged = Logged(log, settings.draw_power)
        self.shift = 0.0  # mean of the targets: only what differs is left to the networks
        actions = log.legal.shape[1]
        self.members = [
            Member(one_hot.width, settings.hidden, actions, settings) for _ in range(settings.members)
        ]

    def iterate(self, share: float) -> float:
        """New targets, then every member's steps towards them; returns the last loss."""
        loss = 0.0
        goal, self.shift = self.logged.targets(self.values(), self.discount, self.scale)
        rate = self.settings.learning_rate * min(1.0, 2.0 * (1.0 - share))
        for member in self.members:
            for group in member.optimizer.param_groups:
                group["lr"] = rate
            for _ in range(self.settings.steps):
                loss = self._step(member, goal)
        self.iteration += 1
        return loss

    def values(self) -> Any:
        """(U,) of every state in the log."""
        with torch.no_grad():
            q = torch.stack([member.q(self.ones) for member in self.members])
        return state_values(q + self.shift, self.legal).numpy().astype(np.float64)

    def _step(self, member: Member, goal: Tensor) -> float:
        rows = self.logged.draw(self.random, self.settings.batch)
        weight, legal = self.logged.weight[rows], self.legal[rows]
        q = member.q(self.ones[rows])
        loss = (weight * (q - goal[rows]) ** 2).sum() / len(rows)
        if self.settings.penalty > 0.0:
            loss = loss + self.settings.penalty * _penalty(q, weight, legal)
        member.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        member.optimizer.step()
        return float(loss.detach())

    def network(self) -> PolicyNetwork:
        """One network, whose policy trunk is the mean of the members' gaps."""
        sizes, actions = self._sizes, self.legal.shape[1]
        wide = [len(self.members) * size for size in self.settings.hidden]
        network = PolicyNetwork(sizes, actions, wide, unit=UNIT)
        averaged([member.gaps for member in self.members], network)
        return network

    def state(self) -> dict[str, Any]:
        """All that a later `restore` needs, between iterations."""
        return {
            "members": [{n: part.state_dict() for n, part in m.parts().items()} for m in self.members],
            "shift": self.shift,
            "random": generator_state(self.random),
            "iteration": self.iteration,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        for member, saved in zip(self.members, state["members"], strict=True):
            for name, part in member.parts().items():
                part.load_state_dict(saved[name])
        set_generator(self.random, state["random"])
        self.shift, self.iteration = state["shift"], state["iteration"]


def state_values(q: Tensor, legal: Tensor) -> Tensor:
    """(U,) the mean Q of the members at the legal action that it prefers; `q` (K, U, A), `legal` (U, A)."""
    zero, mean = torch.zeros(q.shape[1]), q.mean(dim=0)
    return double_target(zero, zero + 1.0, mean, mean, legal)


def _penalty(q: Tensor, weight: Tensor, legal: Tensor) -> Tensor:
    """Mean over logged decisions of the conservative gap; `weight` (N, A) of each action taken."""
    soft = conservative_gap(q, torch.zeros(len(q), dtype=torch.long), legal) + q[:, 0]
    return ((weight.sum(dim=1) * soft) - (weight * q).sum(dim=1)).sum() / len(q)


def averaged(trunks: list[nn.Sequential], network: PolicyNetwork) -> None:
    """Set `network.policy`, as wide as all `trunks` side by side, to their mean, exactly."""
    with torch.no_grad():
        for number, layer in enumerate(network.policy):
            if not isinstance(layer, nn.Linear):
                continue
            parts: list[Any] = [t[number] for t in trunks]
            first, last = number == 0, number == len(network.policy) - 1
            weights = [part.weight / (len(parts) if last else 1) for part in parts]
            biases = [part.bias for part in parts]
            if first and last:
                layer.weight.copy_(sum(weights))
            elif first:
                layer.weight.copy_(torch.cat(weights))
            elif last:
                layer.weight.copy_(torch.cat(weights, dim=1))
            else:
                layer.weight.copy_(torch.block_diag(*weights))  # type: ignore[no-untyped-call]
            layer.bias.copy_(torch.stack(biases).mean(dim=0) if last else torch.cat(biases))
