"""What lies on disk, read and written with every mistake told where it was made.

Scenario files with line numbers in their errors, the rules between a scenario's parts, event logs
as Parquet or CSV, and the JSON documents of the command line. Knows nothing of days.
"""

from __future__ import annotations

from envs.files.log import LogWriter, read_log
from envs.files.scenario_file import load_scenario

__all__ = ["LogWriter", "load_scenario", "read_log"]
