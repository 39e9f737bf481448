"""Learning and judging: logs, fitting, agents, evaluation, tracking. Stands on `envs` only."""
