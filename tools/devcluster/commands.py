"""Other programs, run to their end: an argument list, a time limit, and their own words when they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.devcluster.errors import ClusterError

SHOWN_OUTPUT_LENGTH = 3000


def run_command(
    command: Sequence[str | Path],
    *,
    timeout_s: float = 30,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> str:
    """What the program printed; its failure is told with its last words and `hint`."""
    words = [str(word) for word in command]
    shown = f"`{' '.join(words[:6])}{' …' if len(words) > 6 else ''}`"
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{shown}: the program is missing. {hint}".rstrip()) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"{shown} took longer than {timeout_s:.0f} s. {hint}".rstrip()
        ) from error
    if done.returncode:
        raise ClusterError(
            f"{shown} failed ({done.returncode}): {done.stdout.strip()[-SHOWN_OUTPUT_LENGTH:]} {hint}".rstrip()
        )
    return done.stdout
