"""Real events folded into states: one customer live, or a whole log replayed.

`customer` folds one timeline as plain Python for the service; `replay` folds a log of millions of
rows with the same compiled functions, cut into one row a decision for fitting and evaluation;
`occasion` says what only a live moment can know. Where a log's columns come from is `training.logs`'
business.
"""
