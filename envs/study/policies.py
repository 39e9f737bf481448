"""What a user calls a policy, read as the solver's: a name, a table, a function or a bundle.

A wish that the rules forbid passes as `wait`, as in every environment; how much of the customers'
time that is, is told. Leaves out what any of it is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from envs.arrays import Array, Floats, Ints, Mask
from envs.errors import UserError
from envs.files.document import did_you_mean
from envs.policy.policy import Bundle
from envs.solve.baselines import baselines
from envs.solve.kernel import Kernel, legal_masks, state_observations

Chosen: TypeAlias = "pd.Series[str] | Sequence[str] | Array | str"
Policy: TypeAlias = "str | pd.DataFrame | Bundle | Callable[[pd.DataFrame], Chosen]"
ACTION = "action"


def policy_arrays(
    kernel: Kernel, policy: Policy, states: pd.DataFrame, weights: Floats
) -> tuple[Array, Mask]:
    """Actions (M, S) or probabilities (M, S, A), and (M, S) where a wish was overruled."""
    shape = (len(kernel.consents), kernel.states)
    if isinstance(policy, str):
        known = baselines(kernel, weights)
        if policy not in known:
            raise UserError(
                "unknown policy", where="policy", got=policy,
                expected=f"one of {', '.join(known)}, a table, a function or a bundle",
                hint=_meant(policy, list(known)),
            )  # fmt: skip
        return known[policy], np.zeros(shape, dtype=np.bool_)
    if isinstance(policy, Bundle):
        return _served(kernel, policy), np.zeros(shape, dtype=np.bool_)
    if isinstance(policy, pd.DataFrame):
        wished = _looked_up(policy, states)
    elif callable(policy):
        wished = _asked(policy, states)
    else:
        raise UserError(
            "not a policy", where="policy", got=type(policy).__name__,
            expected="a baseline's name, a DataFrame, a function or a bundle",
        )  # fmt: skip
    numbers = _numbers(kernel, wished).reshape(shape)
    legal: Ints = np.array([kernel.legal(m) for m in range(shape[0])])
    overruled = legal >> numbers & 1 == 0
    return np.where(overruled, 0, numbers).astype(np.int8), overruled


def _asked(policy: Callable[[pd.DataFrame], Chosen], states: pd.DataFrame) -> Array:
    """(M × S,) keys a function wishes for; one key is meant for every state."""
    try:
        given = policy(states.copy())
    except KeyError as error:
        raise UserError(
            "no such column of the states", where="policy(states)", got=error.args[0],
            expected=f"one of {', '.join(states.columns)}",
            hint=_meant(str(error.args[0]), list(states.columns)),
        ) from error  # fmt: skip
    if isinstance(given, pd.Series) and set(given.index) == set(states.index):
        given = given.reindex(states.index)  # a Series says which row it means
    if isinstance(given, str):
        return np.full(len(states), given, dtype=object)
    try:
        wished = np.asarray(given, dtype=object)
    except ValueError:
        wished = np.empty(0, dtype=object)
    if wished.shape != (len(states),):
        raise UserError(
            "a policy answers every state", where="policy(states)",
            got=f"{type(given).__name__} {wished.shape}",
            expected=f"{len(states)} action keys, or one for all",
        )  # fmt: skip
    return wished


def _looked_up(table: pd.DataFrame, states: pd.DataFrame) -> Array:
    """(M × S,) keys of a table with a column `action` and any columns of the states."""
    if ACTION not in table.columns:
        raise UserError(
            "no column of actions", where="policy", got=list(table.columns), expected=f"a column {ACTION!r}"
        )
    by = [name for name in table.columns if name in states.columns]
    if not by:
        raise UserError(
            "no column of the states", where="policy", got=list(table.columns),
            expected=f"one or more of {', '.join(states.columns)}",
        )  # fmt: skip
    doubled = table.duplicated(by)
    if doubled.any():
        row = table.loc[doubled, by].iloc[0].to_dict()
        raise UserError("a state stands twice", where="policy", got=row, expected="one row a state")
    for name in by:
        if pd.api.types.is_numeric_dtype(states[name]) != pd.api.types.is_numeric_dtype(table[name]):
            raise UserError(
                "a column of another kind", where=f"policy[{name!r}]", got=str(table[name].dtype),
                expected=f"values such as {states[name].iloc[0]!r}",
            )  # fmt: skip
    found = states[by].merge(table[[*by, ACTION]], on=by, how="left")[ACTION]
    if found.isna().any():
        row = states.loc[found.isna().to_numpy(), by].iloc[0].to_dict()
        raise UserError("a state is missing", where="policy", got=row, expected="a row for every state")
    return found.to_numpy(dtype=object)


def _numbers(kernel: Kernel, wished: Array) -> Ints:
    """(M × S,) action numbers of keys; raises `UserError` for an action the scenario does not have."""
    keys = [action.key for action in kernel.journey.actions]
    codes, unique = pd.factorize(wished)
    for key in unique:
        if key not in keys:
            raise UserError(
                "unknown action",
                where="policy",
                got=key,
                expected=f"one of {', '.join(keys)}",
                hint=_meant(str(key), keys),
            )
    if (codes < 0).any():
        raise UserError(
            "an action is missing", where="policy", got=None, expected=f"one of {', '.join(keys)}"
        )
    numbers: Ints = np.array([keys.index(key) for key in unique], dtype=np.int64)[codes]
    return numbers


def _meant(name: str, known: list[str]) -> str:
    """The nearest name; the list of all stands in the message already."""
    hint = did_you_mean(name, known)
    return "" if hint.startswith("one of") else hint


def _served(kernel: Kernel, bundle: Bundle) -> Ints:
    """(M, S) greedy actions of a bundle's file."""
    journey = kernel.journey
    if list(journey.encoding.levels) != bundle.manifest.observation:
        raise UserError("the bundle was made for another scenario", where="policy", got=bundle.manifest.name)
    policy, blocks = bundle.policy(journey.cluster.name), []
    for m in range(len(kernel.consents)):
        probabilities, _ = policy.evaluate(state_observations(kernel, m), legal_masks(kernel, m))
        blocks.append(probabilities.argmax(axis=1))
    return np.array(blocks, dtype=np.int8)
