"""Build the environment of an engine version on this machine.

An environment is a copy of the engine's source and, if the engine has requirements, a virtual
environment with locked packages. It is built once per content, into a folder named after version
and content hash. `<version>.json` beside it is the record of its template.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storefleet.engines.descriptor import Engine
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import create_traversable_folder, read_json, write_json
from storefleet.node.servers.server_programs import list_interpreter_paths
from storefleet.node.stores.venvs import build_venv
from storefleet.node.system_user import SystemAccount
from storefleet.runtimes.local.file_layout import FileLayout

ReportProgress = Callable[[str], None]


@dataclass(frozen=True)
class EngineEnvironment:
    """The installation of one version of an engine.

    Attributes:
        engine: The name of the engine.
        version: The engine version.
        content_hash: The hash of everything that the environment is built from.
        folder: The folder of the environment.
        python: The interpreter that runs the engine.
        has_venv: Whether the engine has a virtual environment of its own.
    """

    engine: str
    version: str
    content_hash: str
    folder: Path
    python: Path
    has_venv: bool

    @property
    def source_dir(self) -> Path:
        """The folder of the copied source."""
        return self.folder / "src"

    @property
    def template_name(self) -> str:
        """The name of the template database, and of the role that owns its content."""
        return make_template_name(self.engine, self.content_hash)

    @property
    def template_files_dir(self) -> Path:
        """The folder of the template's files."""
        return self.folder / "template" / "files"

    @property
    def readable_paths(self) -> tuple[Path, ...]:
        """The paths that a user must be able to reach to run the engine."""
        return (
            self.source_dir,
            *(
                (self.folder / "venv", Path(sys.base_prefix))
                if self.has_venv
                else list_interpreter_paths()
            ),
        )

    def make_variables(self, **variables: str) -> dict[str, str]:
        """Make the environment variables of a process of the engine.

        Args:
            variables: More variables.

        Returns:
            All variables of the process.
        """
        folder = self.python.parent
        plain = {"PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
        return {
            **plain,
            "PYTHONPATH": str(self.source_dir),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }

    def make_command(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Replace `{python}` in a command of the descriptor by the environment's interpreter."""
        return tuple(part.replace("{python}", str(self.python)) for part in argv)


def make_template_name(engine: str, content_hash: str) -> str:
    """Make the name of a template database from the engine's name and the content hash."""
    return f"tpl_{engine.replace('-', '_')}_{content_hash}"


def locate_environment(engine: Engine, version: str, *, engines_dir: Path) -> EngineEnvironment:
    """Locate the environment of an engine version, whether it is built or not.

    Args:
        engine: The engine.
        version: The engine version.
        engines_dir: The folder of all environments.

    Returns:
        The environment; `build_environment` builds it.

    Raises:
        NodeError: The engine does not run locally, or its files cannot be read.
    """
    local = engine.local
    if local is None:
        raise NodeError(
            f"The engine {engine.name} cannot run on this machine: its engine.yaml has no `local` "
            "section. Add the section, or use the Kubernetes runtime."
        )
    content_hash = _hash_content(engine, version)
    folder = engines_dir / engine.name / f"{version}-{content_hash}"
    python = folder / "venv" / "bin" / "python" if local.requirements else Path(sys.executable)
    return EngineEnvironment(
        engine.name, version, content_hash, folder, python, local.requirements is not None
    )


async def build_environment(
    engine: Engine,
    environment: EngineEnvironment,
    *,
    records_dir: Path,
    log_file: Path,
    account: SystemAccount | None,
    report_progress: ReportProgress,
) -> None:
    """Build an environment unless it is complete; an incomplete one is rebuilt.

    Args:
        engine: The engine.
        environment: The environment from `locate_environment`.
        records_dir: The folder of the process records.
        log_file: The log of the installation.
        account: The system account that runs the engine; None is the current user.
        report_progress: Receives a status message before packages are installed.

    Raises:
        NodeError: The packages cannot be installed.
    """
    for folder in (environment.folder.parent.parent, environment.folder.parent, environment.folder):
        create_traversable_folder(folder, account)
    stamp = environment.folder / "environment.json"
    if read_json(stamp).get("content") == environment.content_hash:
        return
    _copy_source(_find_source_dir(engine), environment.source_dir)
    if environment.has_venv:
        report_progress(f"installing the packages of {engine.title} (once)")
        await build_venv(
            engine.name,
            environment.folder,
            lock_files=_list_lock_files(engine),
            source_dir=environment.source_dir,
            records_dir=records_dir,
            log_file=log_file,
        )
    write_json(
        stamp,
        {
            "engine": engine.name,
            "version": environment.version,
            "content": environment.content_hash,
        },
    )


def publish_template(environment: EngineEnvironment, *, file_layout: FileLayout) -> None:
    """Write the record of a complete template: the runtime can create stores from it.

    Args:
        environment: The environment of the template.
        file_layout: The paths that the node shares with the local runtime.
    """
    name, files = environment.template_name, str(environment.template_files_dir)
    record = {"version": environment.version, "database": name, "role": name, "files": files}
    path = file_layout.template_record_file(environment.engine, environment.version)
    if read_json(path) != record:
        write_json(path, record)


def list_outdated_folders(environment: EngineEnvironment) -> list[Path]:
    """List the folders of environments of the same version with other content."""
    prefix = f"{environment.version}-"
    return [
        path
        for path in environment.folder.parent.iterdir()
        if path.is_dir() and path.name.startswith(prefix) and path != environment.folder
    ]


def _copy_source(source: Path, target: Path) -> None:
    fresh = target.with_name("src.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for path in (fresh, *fresh.rglob("*")):
        # The checkout may be closed to the stores' account, which reads this copy.
        path.chmod(0o755 if path.is_dir() else 0o644)
    fresh.rename(target)


def _hash_content(engine: Engine, version: str) -> str:
    local = engine.local
    assert local is not None  # noqa: S101 - `locate_environment` rejects others
    digest = hashlib.sha256(
        repr((version, sys.version, sys.base_prefix, local.template, local.serve)).encode()
    )
    if local.requirements:
        digest.update(_read_lock_file(engine, _get_project_dir(engine) / local.requirements))
    source = _find_source_dir(engine)
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"\0{path.relative_to(source)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _read_lock_file(engine: Engine, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NodeError(
            f"The file {path} of the engine {engine.name} cannot be read: {error.strerror}. "
            "Correct `local.requirements` in its engine.yaml."
        ) from None


def _get_project_dir(engine: Engine) -> Path:
    assert engine.local is not None  # noqa: S101 - `locate_environment` rejects others
    return (engine.folder / engine.local.source).resolve()


def _list_lock_files(engine: Engine) -> list[Path]:
    assert engine.local is not None  # noqa: S101 - `locate_environment` rejects others
    lock_files = (engine.local.build_requirements, engine.local.requirements)
    return [_get_project_dir(engine) / lock_file for lock_file in lock_files if lock_file]


def _find_source_dir(engine: Engine) -> Path:
    source = _get_project_dir(engine) / "src"
    if not source.is_dir():
        raise NodeError(
            f"The engine {engine.name} has no source folder {source}. Correct `local.source` in "
            "its engine.yaml."
        )
    return source
