"""What a state is worth to a learner of Q: masked maxima and double targets.

Pure functions of arrays (rlax's style: `_tm1` was before the decision, `_t` is after it). The
mask is the journey's; what a network says of an illegal action never reaches a result. N rows,
A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
