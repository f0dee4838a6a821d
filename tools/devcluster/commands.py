"""Run external programs to completion, with a time limit and their output in errors."""

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
    """Run a program and return its output, standard error included.

    Raises ClusterError with the end of the output and `hint` when the program is missing, exceeds
    `timeout_s` seconds or fails.
    """
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
        raise ClusterError(
            f"{shown} did not run: the program is missing. {hint}".rstrip()
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"{shown} took longer than {timeout_s:.0f} s. {hint}".rstrip()
        ) from error
    if done.returncode:
        output = done.stdout.strip()[-SHOWN_OUTPUT_LENGTH:]
        raise ClusterError(f"{shown} failed ({done.returncode}): {output} {hint}".rstrip())
    return done.stdout
