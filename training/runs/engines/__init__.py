"""Where jobs run, one module each: `run(jobs, workers, show, stop)`. See `training/runs/engine.py`."""
