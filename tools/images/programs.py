"""Run the external programs of a build, with their output in the build log."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.images.errors import BuildError


def run_program(
    command: Sequence[str | Path],
    *,
    failure: str,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    log: Path,
    folder: Path | None = None,
) -> None:
    """Run a program to completion and append its output to `log`.

    Raises BuildError, which begins with `failure` and quotes the last line of the log, when the
    program is missing, exceeds `timeout_s` seconds or exits with another status than 0.
    """
    arguments = [str(part) for part in command]
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(arguments)}\n".encode())
        output.flush()
        try:
            done = subprocess.run(
                arguments,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            raise BuildError(
                f"{failure}: the program {arguments[0]} is missing. Install it and build again."
            ) from None
        except subprocess.TimeoutExpired:
            raise BuildError(
                f"{failure}: the program did not finish within {timeout_s:.0f} s. "
                f"Its output is in {log}."
            ) from None
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise BuildError(f"{failure}: exit status {done.returncode}: {lines[-1]} (more in {log}).")
