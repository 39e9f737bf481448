"""Off-policy evaluation: what a policy would have earned, from a log another policy wrote.

One estimator a file, each with its formula, assumptions and paper. Every estimator returns
`Contributions`; intervals, gates and paired differences are in `estimate.py`, once.
"""

from training.ope.estimate import Contributions, Estimate, Refusal, difference, judge, require

__all__ = ["Contributions", "Estimate", "Refusal", "difference", "judge", "require"]
