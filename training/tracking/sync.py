"""Spools replayed into a tracking store, folder by folder. Knows no learner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envs.errors import JourneyError, UserError
from training.tracking.redaction import HIDDEN, redact
from training.tracking.spool import PARENT, is_written, journals, read
from training.tracking.store import Replay, answers


def sync_all(outs: Sequence[Path], uri: str | None = None) -> dict[str, Any]:
    """Replay every journal of these folders; one entry a tracked run.

    Raises `UserError` where a folder has no spool, no address is known, or the server is
    silent; what was applied until then stays applied, and the same call goes on from there.
    """
    found = [(out, journal) for out in outs for journal in _journals(out)]
    runs = [_sync(out, journal, uri or _address(journal)) for out, journal in found]
    return {"runs": runs, "applied": sum(run["applied"] for run in runs)}


def _journals(out: Path) -> list[Path]:
    known = journals(out)
    if not known:
        hint = "runs with `tracking: off` leave none"
        raise UserError("no spool here", where=str(out), expected="the output folder of a run", hint=hint)
    return known


def _address(journal: Path) -> str:
    """Where the run was to be tracked, if that may be known."""
    uri = str(next(read(journal), {}).get("uri", ""))
    if not uri or "…@" in uri or f"={HIDDEN}" in uri:
        where = str(journal)
        raise UserError("its address was kept without the password", where=where, hint="give --tracking")
    return uri


def _sync(out: Path, journal: Path, uri: str) -> dict[str, Any]:
    hint = "what is logged stays logged; the same command goes on"
    if not answers(uri):
        raise UserError("the tracking server does not answer", where=redact(uri), hint=hint)
    replay = Replay(journal, uri)
    try:
        applied = replay.apply_new()
        alive = is_written(journal)
        if not alive:
            replay.close_unfinished()
    except JourneyError:
        raise
    except Exception as error:
        said = redact(str(error).splitlines()[0])[:200]
        raise UserError("the tracking server failed", where=redact(uri), got=said, hint=hint) from None
    finally:
        replay.close()
    return {
        "out": str(out),
        "journal": str(journal),
        "tracking": redact(uri),
        "mlflow_run_id": replay.marks.ids.get(PARENT),
        "operations": replay.marks.done,
        "applied": applied,
        "state": "running" if alive else "killed" if replay.unfinished else "complete",
        "refused": replay.marks.refused,
    }
