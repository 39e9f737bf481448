"""A learner's settings searched: trials as jobs, scored exactly over clusters and seeds.

`config` is the file people write, `trial` one setting's score, `record` the table and the plots,
`sweep` the loop that can be interrupted and goes on to the same trials.
"""
