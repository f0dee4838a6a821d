"""What ends a build, and how its programs are run."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class BuildError(Exception):
    """A build cannot go on; the message says what happened and what to do."""


def run_program(
    command: Sequence[str | Path],
    *,
    failure: str,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    log: Path,
    folder: Path | None = None,
) -> None:
    """Run a program to its end, its words to the end of `log`; raises BuildError with the last of them."""
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
                f"{failure}: the program {arguments[0]} is missing; install it and build again."
            ) from None
        except subprocess.TimeoutExpired:
            raise BuildError(
                f"{failure}: not done within {timeout_s:.0f} s (its output is in {log})."
            ) from None
    if done.returncode != 0:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise BuildError(f"{failure}: exit status {done.returncode}: {words[-1]} (more in {log}).")
