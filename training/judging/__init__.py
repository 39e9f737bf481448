"""What a trained policy is worth, and whether a scenario is worth training on.

`judge` evaluates an exported file exactly, `export` writes it, `values` fits the values it carries;
`seeds` puts intervals on scores over seeds; `alive` and `marginals` look at a scenario under its own
optimum and under business as usual; `bandit` is the learned baseline.
"""
