"""Runs in MLflow, without ever getting in a run's way.

Everything is written, redacted, to a spool in the output folder (`spool`, `redaction`); a process of
its own (`follower`) carries it to the server (`store`), and `sync` replays what was missed.
"""
