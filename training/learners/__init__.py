"""The learners: one module each, with `Settings` (its keys in a run config) and `learn`.

Each takes a `training.learner.Problem` and hands back a policy for one cluster. What several of them
need is in `training.parts`; judging, export and tracking are the same for all and stand elsewhere.
"""
