"""Masked LinUCB as a learner: the contextual bandit of `training/judging/bandit.py`, exported and served.

The same implementation as the baseline of that name; with the default settings it is the baseline.
It plans no further than today, so it is the price of not planning, as a policy. Open requests are
answered as J0 answers them, which is no linear score: the policy is exported as a table.
"""

from __future__ import annotations

import time

from envs.solve.evaluation import policy_values
from training.judging.bandit import BanditSettings, linear_bandit
from training.learner import Learned, Point, Problem, Report, Table

Settings = BanditSettings


def learn(problem: Problem, settings: BanditSettings, report: Report) -> Learned:
    """Play, regress, play on; a few seconds, so nothing is kept for a later resume."""
    began = time.perf_counter()
    actions = linear_bandit(problem, settings)
    samples = settings.customers * settings.days
    report(Point(1.0, samples, time.perf_counter() - began))
    return Learned(Table(actions, policy_values(problem.kernel, actions, problem.weights)), samples)
