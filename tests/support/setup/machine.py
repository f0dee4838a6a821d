"""A machine for the set-up scripts: a copy of them, and stand-ins for what they call."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Literal

from tests.support.documents.sources import ROOT

PROGRAM = Path(__file__).parent / "stand_ins" / "program.py"
#: Real programs that the scripts need; everything else is a stand-in or missing.
REAL = (
    *(
        "bash",
        "basename",
        "cat",
        "chmod",
        "cp",
        "cut",
        "date",
        "dirname",
        "env",
        "grep",
        "head",
        "id",
        "mkdir",
        "mktemp",
    ),
    *(
        "mv",
        "paste",
        "rm",
        "sed",
        "sha256sum",
        "sleep",
        "sort",
        "tail",
        "tar",
        "gzip",
        "timeout",
        "touch",
        "tr",
    ),
    *("uname", "wc"),
)
How = Literal["fail", "kill-before", "kill-half", "kill-after"]


class Machine:
    """The machine's folder and state, and the scripts that run on it."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.folder = folder
        self.bin, self.play, self.root, self.state_folder = (
            folder / name for name in ("bin", "play", "root", "kept")
        )
        self.served = folder / "served"
        for each in (self.bin, self.play, self.root, self.served):
            each.mkdir(parents=True)
        for name in REAL:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        (self.bin / "python3").symlink_to(Path(sys.executable).resolve())
        for name in programs:
            self.install(name)
        self._copy_scripts()
        self.write(
            docker="up",
            kind_version="v0.33.0",
            helm_version="v4.3.0+g1",
            k3s="absent",
            served=str(self.served),
            names={},
            changes=0,
            trouble=None,
            applied=[],
            **{part: {} for part in ("clusters", "releases", "images", "loaded")},
        )

    def install(self, name: str, where: Path | None = None) -> None:
        target = (where or self.bin) / name
        target.unlink(missing_ok=True)
        target.symlink_to(PROGRAM)

    def _copy_scripts(self) -> None:
        scripts = self.root / "scripts"
        shutil.copytree(ROOT / "scripts" / "setup", scripts / "setup")
        for script in (ROOT / "scripts").glob("*.sh"):
            shutil.copy2(script, scripts)
        tools = self.root / "tools"
        shutil.copytree(ROOT / "tools" / "images", tools / "images")
        for name in ("__init__.py", "which-cluster", "docker-images"):
            shutil.copy2(ROOT / "tools" / name, tools)
        # Other tests start the platform; here only the call and its surroundings count.
        (scripts / "deploy").write_text(DEPLOY)
        (self.root / "charts" / "platform").mkdir(parents=True)
        self._serve()

    def _serve(self) -> None:
        """Provide stand-ins as downloads, and pins with their checksums."""
        program = PROGRAM.read_bytes()
        names = ("kind-linux-amd64", "kind-linux-arm64", "kubectl", "k3s", "k3s-arm64")
        served = dict.fromkeys(names, program)
        served["install.sh"] = b"#!/bin/sh\n"
        for machine in ("amd64", "arm64"):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                entry = tarfile.TarInfo(f"linux-{machine}/helm")
                entry.size, entry.mode = len(program), 0o755
                archive.addfile(entry, io.BytesIO(program))
            served[f"helm-v4.3.0-linux-{machine}.tar.gz"] = packed.getvalue()
        for name, content in served.items():
            (self.served / name).write_bytes(content)
        pins = self.root / "scripts" / "setup" / "pins.sh"
        text = pins.read_text(encoding="utf-8")
        for word, file in (
            ("KIND", "kind-linux-{}"),
            ("KUBECTL", "kubectl"),
            ("K3S", "k3s"),
            ("HELM", "helm-v4.3.0-linux-{}.tar.gz"),
        ):
            for machine in ("amd64", "arm64"):
                total = hashlib.sha256(served[file.format(machine)]).hexdigest()
                text = re.sub(
                    rf"(?m)^{word}_SHA256_{machine.upper()}=.*$",
                    f"{word}_SHA256_{machine.upper()}={total}",
                    text,
                )
        total = hashlib.sha256(served["install.sh"]).hexdigest()
        pins.write_text(
            re.sub(r"(?m)^K3S_INSTALLER_SHA256=.*$", f"K3S_INSTALLER_SHA256={total}", text),
            encoding="utf-8",
        )

    def run(
        self, script: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in a shell whose process id the stand-ins know, so that they can kill it."""
        return subprocess.run(
            [
                self.bin / "bash",
                "-c",
                'export STANDIN_SCRIPT=$$; exec bash "$0" "$@"',
                self.root / "scripts" / script,
                *arguments,
            ],
            env={
                "PATH": str(self.bin),
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
                "STANDIN_PLAY": str(self.play),
                "STOREFLEET_CLUSTER_STATE": str(self.state_folder),
                "STOREFLEET_ETC": str(self.folder / "etc"),
                "STOREFLEET_K3S_PATH": str(self.folder / "usr" / "k3s"),
                "STOREFLEET_ASSUME_ROOT": "0",
                "STOREFLEET_PAUSE": "0.01",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def read(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.play / "state.json").read_text())
        return state

    def write(self, **changed: Any) -> None:
        path = self.play / "state.json"
        before = self.read() if path.exists() else {}
        path.write_text(json.dumps(before | changed))

    def trouble(self, at: int, how: How) -> None:
        self.write(changes=0, trouble={"at": at, "how": how})

    def calm(self) -> None:
        self.write(changes=0, trouble=None)

    def calls(self) -> list[list[str]]:
        """Return the calls that changed something, in order."""
        path = self.play / "calls.jsonl"
        return (
            [json.loads(line)["call"] for line in path.read_text().splitlines()]
            if path.exists()
            else []
        )

    def forget_calls(self) -> None:
        (self.play / "calls.jsonl").unlink(missing_ok=True)
        self.write(changes=0)

    def files(self) -> dict[str, str]:
        """Return every file that a script has left, with its content."""
        places = [
            self.state_folder,
            self.folder / "etc",
            self.folder / "usr",
            self.root / ".storefleet",
            self.root / "build",
        ]
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for place in places
            if place.exists()
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }

    def end(self) -> dict[str, Any]:
        """Return the final state without its intermediate records."""
        state = self.read()
        kept = {part: state[part] for part in ("clusters", "releases", "images", "loaded", "k3s")}
        return {**kept, "applied": sorted(set(state["applied"])), "files": self.files()}


DEPLOY = """import os, sys
from pathlib import Path
kept = Path(os.environ["STOREFLEET_CLUSTER_STATE"])
sys.exit(0 if (kept / "kind.json").exists() else "deploy: there is no cluster")
"""
