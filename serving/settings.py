"""How one server runs: limits, mode, seed. What it serves is the bundle's business."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from `JOURNEY_…` environment variables; the command line overrides."""

    model_config = SettingsConfigDict(env_prefix="JOURNEY_", frozen=True, extra="forbid")

    store: str = "sqlite:///journey.db"
    mode: Literal["live", "shadow"] = "live"
    holdout_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    seed: Annotated[int, Field(ge=0)] | None = None  # of a new store's secret stream; None: unguessable
    max_body_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    receive_timeout_s: Annotated[float, Field(gt=0.0)] = 30.0
