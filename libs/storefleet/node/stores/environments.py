"""An engine's own environment on this machine: a copy of its source and, when it asks for one, a locked venv.

Each is built once per content, into a folder named after version and content; `<version>.json` beside it names the
template that belongs to it.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storefleet.engines.catalogue import Engine
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import pass_folder, read_json, write_json
from storefleet.node.processes.launcher import Child, last_line, run_to_end
from storefleet.node.servers.server_programs import interpreter_paths
from storefleet.node.system_user import Account
from storefleet.runtimes.local.file_layout import Places

Progress = Callable[[str], None]
INSTALL_TIMEOUT = 900.0


@dataclass(frozen=True)
class Environment:
    """Where one version of an engine is installed; `content` is the hash of everything that it is made of."""

    engine: str
    version: str
    content: str
    folder: Path
    python: Path
    own_venv: bool

    @property
    def source(self) -> Path:
        return self.folder / "src"

    @property
    def template_name(self) -> str:
        """The name of the template database, and of the role that owns what is in it."""
        return template_name(self.engine, self.content)

    @property
    def template_files(self) -> Path:
        return self.folder / "template" / "files"

    @property
    def reach(self) -> tuple[Path, ...]:
        """What a user has to get to, to run it."""
        return (
            self.source,
            *(
                (self.folder / "venv", Path(sys.base_prefix))
                if self.own_venv
                else interpreter_paths()
            ),
        )

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of every process of the engine."""
        folder = self.python.parent
        plain = {"PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
        return {
            **plain,
            "PYTHONPATH": str(self.source),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }

    def command(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part.replace("{python}", str(self.python)) for part in argv)


def template_name(engine: str, content: str) -> str:
    return f"tpl_{engine.replace('-', '_')}_{content}"


def find(engine: Engine, version: str, *, folder: Path) -> Environment:
    """Where this version of the engine belongs, built or not; `folder` is the state's engines folder."""
    local = engine.local
    if local is None:
        raise NodeError(
            f"The engine {engine.name} does not run on this machine: its engine.yaml has no `local` part."
        )
    content = _content(engine, version)
    place = folder / engine.name / f"{version}-{content}"
    python = place / "venv" / "bin" / "python" if local.requirements else Path(sys.executable)
    return Environment(engine.name, version, content, place, python, local.requirements is not None)


async def build(
    engine: Engine,
    environment: Environment,
    *,
    records: Path,
    log: Path,
    account: Account | None,
    progress: Progress,
) -> None:
    """Make the environment unless it is there; begun ones are made anew."""
    for folder in (environment.folder.parent.parent, environment.folder.parent, environment.folder):
        pass_folder(folder, account)
    stamp = environment.folder / "environment.json"
    if read_json(stamp).get("content") == environment.content:
        return
    _copy_source(_source_of(engine), environment.source)
    if environment.own_venv:
        await _install(engine, environment, records=records, log=log, progress=progress)
    write_json(
        stamp,
        {"engine": engine.name, "version": environment.version, "content": environment.content},
    )


def publish(environment: Environment, *, places: Places) -> None:
    """Tell the runtime that the version can be copied from now on."""
    name, files = environment.template_name, str(environment.template_files)
    record = {"version": environment.version, "database": name, "role": name, "files": files}
    path = places.template_record(environment.engine, environment.version)
    if read_json(path) != record:
        write_json(path, record)


def outdated(environment: Environment) -> list[Path]:
    """Folders of the same version with another content."""
    prefix = f"{environment.version}-"
    return [
        path
        for path in environment.folder.parent.iterdir()
        if path.is_dir() and path.name.startswith(prefix) and path != environment.folder
    ]


async def _install(
    engine: Engine, environment: Environment, *, records: Path, log: Path, progress: Progress
) -> None:
    assert engine.local is not None  # noqa: S101 - `find` refuses others
    requirements = _folder_of(engine) / (engine.local.requirements or "")
    python, venv = str(environment.python), environment.folder / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    pip = ("-m", "pip", "--python", python, "--disable-pip-version-check", "--no-input")
    options = (
        "--require-hashes",
        "--no-build-isolation",
        "--no-compile",
        "--root-user-action=ignore",
        "--quiet",
    )
    install = (sys.executable, *pip, "install", *options, "-r")
    build = engine.local.build_requirements
    steps = (
        ("venv", (sys.executable, "-m", "venv", "--without-pip", str(venv))),
        *([("pip-build", (*install, str(_folder_of(engine) / build)))] if build else []),
        ("pip", (*install, str(requirements))),
        (
            "compile",
            (
                python,
                "-m",
                "compileall",
                "-q",
                "-j",
                "0",
                str(venv / "lib"),
                str(environment.source),
            ),
        ),
    )
    progress(f"installing the packages of {engine.title} (once)")
    for step, argv in steps:
        child = Child(
            name=f"engine-{engine.name}-{step}",
            argv=argv,
            cwd=environment.folder,
            log=log,
            env=_callers_environment(),  # the caller's package index, proxy and cache
            umask=0o022,
        )
        code = await run_to_end(child, records=records, timeout=INSTALL_TIMEOUT)
        if (
            code != 0 and step != "compile"
        ):  # a package may carry files that are not for this Python
            raise NodeError(
                f"The packages of the engine {engine.name} could not be installed: {last_line(log)} (more in {log})."
            )


def _callers_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STOREFLEET_", "PYTHON"))
    }


def _copy_source(source: Path, target: Path) -> None:
    fresh = target.with_name("src.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(
            0o755 if path.is_dir() else 0o644
        )  # the clone may be closed, the stores' user reads this copy
    fresh.rename(target)


def _content(engine: Engine, version: str) -> str:
    local = engine.local
    assert local is not None  # noqa: S101 - `find` refuses others
    digest = hashlib.sha256(
        repr((version, sys.version, sys.base_prefix, local.template, local.serve)).encode()
    )
    if local.requirements:
        digest.update(_read(engine, _folder_of(engine) / local.requirements))
    source = _source_of(engine)
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"\0{path.relative_to(source)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _read(engine: Engine, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NodeError(
            f"The engine {engine.name} names {path}, which cannot be read: {error.strerror}."
        ) from None


def _folder_of(engine: Engine) -> Path:
    assert engine.local is not None  # noqa: S101 - `find` refuses others
    return (engine.folder / engine.local.source).resolve()


def _source_of(engine: Engine) -> Path:
    source = _folder_of(engine) / "src"
    if not source.is_dir():
        raise NodeError(
            f"The engine {engine.name} has no source folder {source}: correct `local.source` in its engine.yaml."
        )
    return source
