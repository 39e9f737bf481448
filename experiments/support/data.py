"""Where the real data lies: read from `JOURNEY_DATA`, never copied into the project.

The loaders return tables as published. Mappings (`configs/mappings/`) turn a log into events.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from envs.errors import LogError

DEFAULT_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the project
"""`../shared/data` beside the project's root, used when it exists."""


def data_folder() -> Path | None:
    """The folder of the real data, or None where there is none."""
    named = os.environ.get("JOURNEY_DATA")
    folder = Path(named) if named else DEFAULT_FOLDER
    return folder if folder.is_dir() else None


def data_file(name: str) -> Path:
    """One file of the data folder; raises `LogError` with the next step where it is missing."""
    folder = data_folder()
    where = os.environ.get("JOURNEY_DATA") or str(DEFAULT_FOLDER)
    if folder is None:
        raise LogError("no data folder", where=where, expected="a folder", hint="set JOURNEY_DATA to it")
    path = folder / name
    if not path.is_file():
        raise LogError("no such data file", where=str(path), expected="the file named in the data's README")
    return path


def hillstrom() -> pd.DataFrame:
    """A randomised e-mail test: men's, women's or no e-mail, a third each; visit, conversion, spend."""
    return pd.read_csv(data_file("hillstrom.csv.gz"))


def open_bandit(policy: str) -> pd.DataFrame:
    """Impressions of the Open Bandit Dataset with recorded propensities; `random` or `bts`."""
    return pd.read_parquet(data_file(f"obd_{policy}_all.parquet"))


STARBUCKS_FILES = ("starbucks_events.csv.gz", "starbucks_profile.csv.gz", "starbucks_portfolio.csv")
"""Events and customers are split by customer; the portfolio is the same for all."""


def starbucks_file(name: str) -> pd.DataFrame:
    """One of `STARBUCKS_FILES`, every field as text: what is written back is what was read."""
    return pd.read_csv(data_file(name), dtype="str", keep_default_na=False)
