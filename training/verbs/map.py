"""`journey map LOG…`: a commented mapping skeleton from a raw log, to be completed by a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from envs.cli.output import emit
from envs.errors import UserError
from training.logs.map_skeleton import skeleton


def map_(
    logs: Annotated[list[Path], typer.Argument(help="Raw log files.")],
    out: Annotated[Path | None, typer.Option(help="Mapping to write; default: print it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write a commented mapping skeleton from a raw log."""
    text, guessed = skeleton(logs)
    if out is not None:
        if out.exists():
            raise UserError("already there", where="--out", got=str(out), expected="a new file")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    document = {"mapping": str(out) if out else None, "text": text, "columns": guessed}
    emit(
        document,
        as_json,
        lambda console: console.out(text if out is None else f"wrote {out}", highlight=False),
    )
