"""`python -m envs.cli` is the command `journey`."""

from __future__ import annotations

import sys

from envs.cli.command import main

sys.exit(main())
