"""What a log teaches whose decisions are nearly all the business rules': 95 % of them, 5 % uniform.

python experiments/012_from_log/narrow.py
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from envs.simulate.opening import open_journey
from training.checkpoint import Unsaved
from training.judging.judge import bounds
from training.learner import Problem
from training.learners import from_log
from training.learners.ppo import greedy_value
from training.network import PolicyNetwork
from training.threads import single_threaded

CLUSTERS = (
    ("omnichannel_retail", "early_adopter"),
    ("omnichannel_retail", "dormant"),
    ("subscription_telecom", "heavy_user"),
    ("retail_bank", "young"),
)
SEEDS, PENALTIES = 3, (0.0, 1e-5)
BEHAVIOR = "business_rules:0.95+random_legal:0.05"
SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


def main() -> None:
    """A line a run."""
    with (Path(__file__).parent / "narrow.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("scenario", "cluster", "seed", "penalty", "score"))
        for scenario, cluster in CLUSTERS:
            journey = open_journey(SCENARIOS / f"{scenario}.yaml", cluster)
            for seed in range(SEEDS):
                problem = Problem(journey, "lifetime_value", seed)
                known = bounds(problem)
                for penalty in PENALTIES:
                    settings = from_log.Settings(behavior=BEHAVIOR, penalty=penalty)
                    policy = from_log.learn(problem, settings, Unsaved(lambda point: None)).policy
                    assert isinstance(policy, PolicyNetwork)
                    score = known.score(greedy_value(problem, policy))
                    line = (scenario, cluster, seed, penalty, f"{score:.4f}")
                    out.writerow(line)
                    file.flush()
                    print(*line, file=sys.stderr)


if __name__ == "__main__":
    with single_threaded():
        main()
