"""The observation: it tells every state apart, and it is written in one way only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from envs.journey.observation import write_observation
from envs.journey.state import State
from envs.solve.kernel import Kernel, state_observations
from tests.core.states import state_at
from tests.core.worlds import VARIANTS

KernelOf = Callable[[str], Kernel]


def test_the_observation_determines_the_state_of_every_tiny_state(tiny_kernel: Kernel) -> None:
    blocks = [state_observations(tiny_kernel, m) for m in range(len(tiny_kernel.consents))]
    rows = np.concatenate(blocks)
    assert rows.shape[0] == 4 * 144
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_the_observation_determines_the_state_with_every_component(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    sizes = np.array(kernel.journey.encoding.sizes)
    weights = np.cumprod(np.concatenate([[1], sizes[:-1]]))
    keys = []
    for m in range(len(kernel.consents)):
        rows = state_observations(kernel, m).astype(np.int64)
        assert (rows >= 0).all()
        assert (rows < sizes).all()
        keys.append(rows @ weights)  # a mixed radix number: equal only for equal rows
    assert len(np.unique(np.concatenate(keys))) == kernel.states * len(kernel.consents)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_there_is_one_encoder(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    encoding, rng = kernel.journey.encoding, np.random.default_rng(6)
    for m, pattern in enumerate(kernel.consents.tolist()):
        batch = state_observations(kernel, m)
        for index in rng.integers(kernel.states, size=60).tolist():
            state = state_at(kernel.journey, index, pattern)
            if index % 10 == 0:
                state = state._replace(stage=kernel.journey.rules.churned)
            written = np.zeros(len(encoding.names), dtype=np.float32)
            write_observation(encoding.source, state, written)
            encoded = encoding.encode(state)
            assert encoded.dtype == np.float32
            assert (encoded == written).all()
            if index % 10:
                assert (encoded == batch[index]).all()


def test_entries_follow_the_order_of_the_state(kernel_of: KernelOf) -> None:
    encoding = kernel_of("gapped").journey.encoding
    assert encoding.names == (
        "stage", "engagement", "fatigue", "goodwill", "inbox",
        "consent_email", "consent_phone", "consent_chat", "offer", "open_contact", "idle", "gap",
    )  # fmt: skip
    state = State(2, 1, 2, 0, 3, 0b101, 2, 4, 0, 1, 2, 0)
    assert encoding.encode(state).tolist() == [2, 1, 2, 0, 3, 1, 0, 1, 2, 4, 1, 2]
