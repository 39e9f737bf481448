"""A service of one's own: started as a process on a free loopback port, stopped by its id.

Training never imports serving; demonstrations talk to it as any client does.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def served(bundle: Path) -> Iterator[str]:
    """The service as a process of its own on a free port, its store thrown away afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="journey-store-"))
    words = ["serve", str(bundle), "--port", "0", "--store", f"sqlite:///{scratch / 'journey.db'}", "--json"]
    print(f"\n$ journey {' '.join(words)}", flush=True)
    command = [
        sys.executable,
        "-c",
        "import sys; from envs.cli import main; sys.exit(main())",
        *words,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        url = json.loads(line)["url"]
        _wait_until_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout:
            process.stdout.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _wait_until_ready(url: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):  # noqa: S310
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def post(url: str, body: Any) -> Any:
    """POST JSON to the loopback service."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)
