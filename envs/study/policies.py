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
    if isinstance(given, str):
        return np.full(len(states), given, dtype=object)
    if isinstance(given, pd.Series):  # a Series says which row it means
        given = _in_order(given, states)
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


def _in_order(given: pd.Series[str], states: pd.DataFrame) -> pd.Series[str]:
    """A function's Series in the order of the states; raises `UserError` for rows that are not theirs."""
    if given.index.has_duplicates or set(given.index) != set(states.index):
        raise UserError(
            "a policy answers every state", where="policy(states)",
            got=f"Series {given.shape} of another index",
            expected=f"the index of the states, 0 to {len(states) - 1}",
            hint="Series.to_numpy() where the order is that of the states",
        )  # fmt: skip
    return given.loc[states.index]


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
    wished = _readable(table[[*by, ACTION]], states)
    doubled = wished.duplicated(by)
    if doubled.any():
        row = wished.loc[doubled, by].iloc[0].to_dict()
        raise UserError("a state stands twice", where="policy", got=row, expected="one row a state")
    found = states[by].merge(wished, on=by, how="left", indicator="found")
    absent = (found["found"] == "left_only").to_numpy()
    if absent.any():
        row = states.loc[absent, by].iloc[0].to_dict()
        raise UserError("a state is missing", where="policy", got=row, expected="a row for every state")
    return found[ACTION].to_numpy(dtype=object)


def _readable(table: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """The table with no column twice, each of the kind that the states have; a file's empty word is `""`."""
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise UserError("a column stands twice", where="policy", got=twice, expected="one column a name")
    out = table.copy()
    for name in table.columns.drop(ACTION):
        words = not pd.api.types.is_numeric_dtype(states[name])
        column = table[name].astype(object)
        out[name] = column.where(table[name].notna(), "") if words else column.infer_objects()
        fits = (
            all(isinstance(v, str) for v in out[name]) if words else pd.api.types.is_numeric_dtype(out[name])
        )
        if not fits:
            raise UserError(
                "a column of another kind", where=f"policy[{name!r}]", got=str(table[name].dtype),
                expected=f"values such as {states[name].iloc[0]!r}",
            )  # fmt: skip
    return out


def _numbers(kernel: Kernel, wished: Array) -> Ints:
    """(M × S,) action numbers of keys; raises `UserError` for an action the scenario does not have."""
    keys = [action.key for action in kernel.journey.actions]
    if pd.isna(wished).any():
        raise UserError("an action is missing", where="policy", expected=f"one of {', '.join(keys)}")
    strange = [key for key in wished if not isinstance(key, str)][:1]
    codes, unique = pd.factorize(wished) if not strange else (np.zeros(0, np.int64), strange)
    for key in unique:
        if key not in keys:
            raise UserError(
                "unknown action",
                where="policy",
                got=key,
                expected=f"one of {', '.join(keys)}",
                hint=_meant(str(key), keys),
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
    policy, blocks = bundle.policy_for(journey, "policy"), []
    for m in range(len(kernel.consents)):
        probabilities, _ = policy.evaluate(state_observations(kernel, m), legal_masks(kernel, m))
        blocks.append(probabilities.argmax(axis=1))
    return np.array(blocks, dtype=np.int8)
