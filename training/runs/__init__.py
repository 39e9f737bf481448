"""A training run: clusters as jobs on an engine, resumable, to one bundle.

`cluster_run` takes one cluster from start to judged file; `engine` and `engines` say where jobs run;
`train` puts clusters, tracking and bundle together; `unfinished` and the checkpoints pick up what was
interrupted.
"""
