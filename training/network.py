"""The served network: one-hot first layer, a policy trunk and a value trunk, as one ONNX graph.

Knows shapes and export only. What the weights should be is the learners' business; masks are
applied outside the graph, from the one implementation in `envs/day/masks.py`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FLOOR = -60.0  # of log-probabilities: no legal action underflows to 0 in float32


class OneHot(nn.Module):
    """(N, F) levels → (N, D) ones and zeros, D = Σ sizes; a size of 0 passes a belief through."""

    entry: Tensor
    level: Tensor
    belief: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        entry = [f for f, size in enumerate(sizes) for _ in range(size)]
        level = [float(i) for size in sizes for i in range(size)]
        belief = [f for f, size in enumerate(sizes) if size == 0]
        self.register_buffer("entry", torch.tensor(entry, dtype=torch.long))
        self.register_buffer("level", torch.tensor(level))
        self.register_buffer("belief", torch.tensor(belief, dtype=torch.long))
        self.width = len(entry) + len(belief)

    def forward(self, observation: Tensor) -> Tensor:
        """One-hot entries first, beliefs after them."""
        ones = (observation.index_select(1, self.entry) == self.level).to(observation.dtype)
        if not self.belief.numel():
            return ones
        return torch.cat([ones, observation.index_select(1, self.belief)], dim=1)


def trunk(width: int, hidden: Sequence[int], out: int) -> nn.Sequential:
    """Dense layers with rectified units between them."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out))


class PolicyNetwork(nn.Module):
    """`forward` gives probabilities and values, both (N, A); values are in objective units."""

    offset: Tensor
    scale: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        actions: int,
        hidden: Sequence[int] = (64, 64),
        value_hidden: Sequence[int] = (96, 96),
    ) -> None:
        super().__init__()
        self.one_hot = OneHot(sizes)
        self.policy = trunk(self.one_hot.width, hidden, actions)
        self.values = trunk(self.one_hot.width, value_hidden, 1 + actions)
        self.register_buffer("offset", torch.zeros(1))
        self.register_buffer("scale", torch.ones(2))

    def logits(self, observation: Tensor) -> Tensor:
        """(N, A) before masks."""
        out: Tensor = self.policy(self.one_hot(observation))
        return out

    def q_values(self, observation: Tensor) -> Tensor:
        """(N, A): a state's value less each action's gap, each on its own scale."""
        raw: Tensor = self.values(self.one_hot(observation))
        return self.offset + self.scale[:1] * raw[:, :1] - self.scale[1:] * raw[:, 1:]

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """The exported graph."""
        logs = torch.log_softmax(self.logits(observation), dim=1).clamp_min(_FLOOR)
        return logs.exp(), self.q_values(observation)


def to_onnx(network: PolicyNetwork) -> bytes:
    """The network as an ONNX file: `observation` → `probabilities`, `values`."""
    features = int(network.one_hot.entry.max()) + 1
    if network.one_hot.belief.numel():
        features = max(features, int(network.one_hot.belief.max()) + 1)
    return graph_to_onnx(network, features)


def graph_to_onnx(graph: nn.Module, features: int) -> bytes:
    """Any graph from an observation (N, F) to probabilities and values (N, A) as such a file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the exporter warns that a newer one exists; that one needs a further package
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            (torch.zeros(2, features),),
            buffer,  # type: ignore[arg-type]
            input_names=["observation"],
            output_names=["probabilities", "values"],
            dynamic_axes={name: {0: "N"} for name in ("observation", "probabilities", "values")},
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()
