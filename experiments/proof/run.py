"""`make proof`: how close every policy comes to the optimum, one row a finished cell.

A cell is a scenario, a cluster, a run config and a seed. Finished cells whose scenario and
config are unchanged are not run again, so the study can be interrupted and resumed. The rows
are committed; `make test` checks that they belong to the scenarios as they are, and what they
claim together (`claims.py`).
"""

from __future__ import annotations

import multiprocessing as mp
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from envs.files.scenario_file import load_scenario
from envs.scenario.schema import Scenario
from envs.solve.references import References
from experiments.proof.rows import ROOT, Cell, Key, read_rows, write_rows
from training.run_config import RunConfig, load_run

STUDIED = {  # fully observed shipped scenarios, and the cluster of each that gets ten seeds
    "tiny": "wary",
    "omnichannel_retail": "early_adopter",
    "subscription_telecom": "heavy_user",
    "retail_bank": "young",
    "capped": "occasional",
}
SEEDS = {  # of the studied cluster, of the others
    "planner": (1, 1), "distilled": (10, 3), "ppo": (10, 3), "from_log": (10, 3), "from_samples": (10, 3),
}  # fmt: skip
WORKERS = 2

_known: dict[tuple[str, str], References] = {}  # of a worker: baselines do not depend on the seed


@dataclass(frozen=True)
class Wanted:
    """A cell there should be."""

    run: str
    config: RunConfig
    scenario: Scenario
    cluster: str

    @property
    def key(self) -> Key:
        """The key of its row."""
        hashes = self.scenario.digest(), self.config.digest()
        return self.scenario.name, self.cluster, self.run, self.config.seed, *hashes


def wanted() -> Iterator[Wanted]:
    """Every cell there should be, the first seeds first."""
    scenarios = {n: load_scenario(ROOT / "configs" / "scenarios" / f"{n}.yaml") for n in STUDIED}
    for seed in range(max(most for most, _ in SEEDS.values())):
        for run, (most, few) in SEEDS.items():
            for name, scenario in scenarios.items():
                config = load_run(
                    ROOT / "configs" / "training" / f"{run}.yaml",
                    scenario=f"configs/scenarios/{name}.yaml", tracking="off",
                    objective="lifetime_value", seed=seed,
                )  # fmt: skip
                for cluster in scenario.clusters:
                    if seed < (most if cluster.name == STUDIED[name] else few):
                        yield Wanted(run, config, scenario, cluster.name)


def run_cell(cell: Wanted) -> Cell:
    """Train, export, read back and judge one cell; single-threaded."""
    from training.threads import single_threaded

    with single_threaded():
        return _run_cell(cell)


def _run_cell(cell: Wanted) -> Cell:
    from envs.journey.journey import compile_journey
    from training.checkpoint import Unsaved
    from training.judging.export import export
    from training.judging.judge import references
    from training.learner import Problem
    from training.run_config import learner_module, settings_of

    config, scenario, cluster = cell.config, cell.scenario, cell.cluster
    journey = compile_journey(scenario, cluster)
    place = (scenario.digest(), cluster)
    if place not in _known:  # judged once: the same for every seed and learner
        _known[place] = references(Problem(journey, "lifetime_value", 0))
    problem = Problem(journey, "lifetime_value", config.seed)
    learner = learner_module(config.learner)
    wall, cpu = time.perf_counter(), time.process_time()
    learned = learner.learn(problem, settings_of(config), Unsaved(lambda point: None))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    known = _known[place]
    exported = export(problem, learned, config.exploration, config.max_regret, known)
    beside = {name: problem.value_of(policy) for name, policy in learned.shown_beside.items()}
    verdict, best = exported.verdict, known.best
    return Cell(
        *cell.key, known.optimum, known.service_only, *best,
        verdict.value, verdict.score, verdict.score_served, verdict.edge,
        beside.get("potential_greedy"), beside.get("whole_step"), learned.notes.get("step"),
        wall, cpu, learned.samples, command(cell),
    )  # fmt: skip


def command(cell: Wanted) -> str:
    """What gives the same policy by hand."""
    return (
        f"journey train configs/training/{cell.run}.yaml --scenario {cell.config.scenario} "
        f"--cluster {cell.cluster} --objective lifetime_value --seed {cell.config.seed}"
    )


def main(chosen: list[str]) -> int:
    """Run what is missing, of the chosen run configs or of all; 1 when a claim does not hold."""
    from experiments.proof.claims import claims

    cells = list(wanted())
    keys = {cell.key for cell in cells}
    rows: dict[Any, Cell] = {row.key: row for row in read_rows() if row.key in keys}
    missing = [c for c in cells if c.key not in rows and (not chosen or c.run in chosen)]
    print(f"{len(missing)} of {len(cells)} cells to run", file=sys.stderr)
    with ProcessPoolExecutor(WORKERS, mp.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(run_cell, cell) for cell in missing]):
                row = future.result()
                rows[row.key] = row
                write_rows(list(rows.values()))
                told = f"{row.scenario} {row.cluster} {row.run} seed {row.seed}"
                score = "no score" if row.score is None else f"score {row.score:.5f}"
                print(f"{told}: {score}, {row.cpu_seconds:.0f} s", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            print("stopped; the same command goes on from here", file=sys.stderr)
            return 130
    failed = [claim for claim in claims(list(rows.values())) if not claim.holds]
    for claim in failed:
        print(claim, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
