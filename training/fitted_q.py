"""Fitted Q iteration on a log: several networks, each on its own share of the customers.

    y(x, a) = mean of r + γ V(x'),   V(x') = Q_others(x', argmax over legal a of Q_own(x', a))

Ernst, Geurts and Wehenkel (2005), with the double estimator across customers: what a network
overrates by chance is judged by networks that never saw those customers. Each network minimises
the squared error plus a conservative penalty over legal actions (Kumar et al., 2020). Nothing is
learned of how customers move; equal decisions in equal states are only added up.
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


class Member:
    """One network and the customers it learns from. U states, A actions."""

    def __init__(self, log: Transitions, kept: Any, width: int, hidden: list[int], power: float) -> None:
        states, actions = log.legal.shape
        self._shape = (states, actions)
        self._cell = log.at[kept].astype(np.int64) * actions + log.action[kept]
        self._next, self._reward = log.next[kept], log.reward[kept]
        count = np.bincount(self._cell, minlength=states * actions).reshape(self._shape)
        self.share = count / count.sum()  # (U, A) of this member's decisions
        self._each = 1.0 / np.maximum(count, 1)
        # common states are drawn less often than they occur, and weigh more instead
        odds = count.sum(axis=1) ** power
        self._cumulative = np.cumsum(odds / odds.sum())
        odds = odds / odds.sum()
        weight = np.divide(self.share, odds[:, None], where=count > 0, out=np.zeros(self._shape))
        self.weight = torch.from_numpy(weight.astype(np.float32))
        self.gaps, self.level = trunk(width, hidden, actions), trunk(width, hidden, 1)
        self.shift = 0.0  # mean of the targets: only what differs is left to the networks

    def q(self, ones: Tensor) -> Tensor:
        """(N, A)."""
        out: Tensor = self.level(ones) + self.gaps(ones) + self.shift
        return out

    def targets(self, values: Any, discount: float, scale: float) -> Tensor:
        """(U, A) mean of r + γ V(x') over this member's decisions, `shift` taken off; `values` (U,)."""
        ahead = np.where(self._next == ENDED, 0.0, values[self._next])
        goal = scale * self._reward + discount * ahead
        cells = self._shape[0] * self._shape[1]
        mean = np.bincount(self._cell, goal, minlength=cells).reshape(self._shape) * self._each
        self.shift = float((self.share * mean).sum())
        return torch.from_numpy((mean - self.shift).astype(np.float32))

    def draw(self, random: np.random.Generator, size: int) -> Tensor:
        """(size,) states."""
        drawn = np.searchsorted(self._cumulative, random.random(size))
        return torch.from_numpy(np.minimum(drawn, self._shape[0] - 1))

    def networks(self) -> list[nn.Module]:
        """What is learned."""
        return [self.gaps, self.level]


class FittedQ:
    """Members that value each other's choices."""

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
        share = self.random.integers(0, settings.members, int(log.customer.max()) + 1)[log.customer]
        width, hidden = one_hot.width, settings.hidden
        self.members = [
            Member(log, share == k, width, hidden, settings.draw_power) for k in range(settings.members)
        ]
        self.optimizers = [
            torch.optim.AdamW(
                [p for network in member.networks() for p in network.parameters()],
                lr=settings.learning_rate, weight_decay=settings.weight_decay,
            )
            for member in self.members
        ]  # fmt: skip

    def iterate(self, share: float) -> float:
        """New targets for all members, then steps towards them; returns the last loss."""
        loss = 0.0
        goals = [
            member.targets(values, self.discount, self.scale)
            for member, values in zip(self.members, self.values(), strict=True)
        ]
        rate = self.settings.learning_rate * min(1.0, 2.0 * (1.0 - share))
        for member, goal, optimizer in zip(self.members, goals, self.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
            for _ in range(self.settings.steps):
                loss = self._step(member, goal, optimizer)
        self.iteration += 1
        return loss

    def values(self) -> list[Any]:
        """(U,) for each member: the others' value of its choice."""
        with torch.no_grad():
            q = torch.stack([member.q(self.ones) for member in self.members])
        return [state_values(q, k, self.legal).numpy().astype(np.float64) for k in range(len(q))]

    def _step(self, member: Member, goal: Tensor, optimizer: torch.optim.Optimizer) -> float:
        rows = member.draw(self.random, self.settings.batch)
        ones, weight, legal = self.ones[rows], member.weight[rows], self.legal[rows]
        q = member.gaps(ones) + member.level(ones)
        loss = (weight * (q - goal[rows]) ** 2).sum() / len(rows)
        if self.settings.penalty > 0.0:
            loss = loss + self.settings.penalty * _penalty(q, weight, legal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def network(self) -> PolicyNetwork:
        """One network, whose policy trunk is the mean of the members' gaps."""
        sizes, actions = self._sizes, self.legal.shape[1]
        wide = [len(self.members) * size for size in self.settings.hidden]
        network = PolicyNetwork(sizes, actions, wide)
        averaged([member.gaps for member in self.members], network)
        return network

    def state(self) -> dict[str, Any]:
        """All that a later `restore` needs, between iterations."""
        return {
            "networks": [[n.state_dict() for n in member.networks()] for member in self.members],
            "shifts": [member.shift for member in self.members],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": generator_state(self.random),
            "iteration": self.iteration,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        for member, networks, shift in zip(self.members, state["networks"], state["shifts"], strict=True):
            for network, weights in zip(member.networks(), networks, strict=True):
                network.load_state_dict(weights)
            member.shift = shift
        for optimizer, moments in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(moments)
        set_generator(self.random, state["random"])
        self.iteration = state["iteration"]


def state_values(q: Tensor, own: int, legal: Tensor) -> Tensor:
    """(U,) the mean of the other members' Q at the legal action that member `own` prefers.

    `q` (K, U, A) of the members, `legal` (U, A). A single member judges itself.
    """
    others = [k for k in range(len(q)) if k != own] or [own]
    zero = torch.zeros(q.shape[1])
    return double_target(zero, zero + 1.0, q[own], q[others].mean(dim=0), legal)


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
