"""Fine-tuning the distilled network by PPO, held near its teacher.

The planner's optimum is distilled into the served network; PPO then learns a correction of it in
the simulator, and −KL(π ‖ teacher) keeps the two together. How far to go is decided exactly, so
the result is never worse than the teacher. Where the teacher planned on the very model that is
learned in there is next to nothing to gain; it is for what distillation lost.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from envs.scenario.schema import Strict
from training.checkpoint import Unsaved
from training.learner import Learned, Problem, Report
from training.learners import distilled, ppo
from training.learners.distilled import Settings as Teacher
from training.learners.ppo import Settings as Recipe
from training.parts.prior import ILLEGAL


def _recipe() -> Recipe:
    """Small steps from a good start; `entropy` weighs the KL to the teacher."""
    return Recipe(samples=500_000, learning_rate=1e-3, entropy=0.3, entropy_until=1.0)


class Settings(Strict):
    """Two recipes, one after the other."""

    teacher: Teacher = Teacher()
    ppo: Recipe = Field(default_factory=_recipe)


def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Distil, which takes seconds and is not kept when interrupted; then correct."""
    teacher = distilled.taught(problem, settings.teacher, Unsaved())
    legal = torch.from_numpy(problem.legal)
    logits = torch.from_numpy(ppo.logits_of(problem, teacher)).masked_fill(~legal, ILLEGAL)
    shape = (problem.blocks, problem.kernel.states, -1)
    prior = torch.log_softmax(logits, dim=1).clamp_min(ILLEGAL).numpy().reshape(shape)
    learned = ppo.correct(problem, settings.ppo, report, prior)
    learned.shown_beside["teacher"] = prior.argmax(axis=2).astype(np.int8)
    return learned
