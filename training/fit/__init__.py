"""A scenario from a log: penalised logistic regressions of every event, with their uncertainty.

Customer-days become unique `cells`, cells become designs (`terms`), designs are fitted by Newton's
method (`logistic`), and coefficients become rates and odds ratios again (`coefficients`);
`fold_search` chooses the constants of the fold, `evidence` and `report` say how far to believe it.
"""
