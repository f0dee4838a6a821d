"""The sandbox: resolved paths, covered folders, and what an unprivileged user can reach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storefleet.node.processes import sandbox


def test_path_with_links_is_resolved_like_kernel(tmp_path: Path) -> None:
    real = tmp_path / "real" / "deep"
    real.mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "relative").symlink_to("absolute")
    folders: set[str] = set()
    links: dict[str, str] = {}
    assert sandbox.resolve_path(f"{tmp_path}/relative/./deep/../deep", folders, links) == str(real)
    assert links == {f"{tmp_path}/relative": "absolute", f"{tmp_path}/absolute": f"{tmp_path}/real"}
    assert {"/", str(tmp_path), f"{tmp_path}/real"} <= folders
    assert f"{tmp_path}/relative" not in folders


def test_loop_of_links_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(sandbox.SandboxError):
        sandbox.resolve_path(f"{tmp_path}/a", set(), {})


def test_nested_paths_are_reduced_to_topmost() -> None:
    assert sandbox.select_topmost({"/a/b/c", "/a/b", "/a/bc", "/d"}) == ["/a/b", "/a/bc", "/d"]


def test_sandbox_executes_program_in_working_directory(tmp_path: Path) -> None:
    argv = sandbox.make_command(
        [sys.executable, "-c", "import os; print(os.getcwd())"], cwd=str(tmp_path)
    )
    done = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin"}
    )
    assert done.stdout.strip() == str(tmp_path)


if os.geteuid() == 0:  # only root can change users
    PROBE = """
import json, os, sys
def writable(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "uid": [*os.getresuid()], "groups": os.getgroups(), "closed": sorted(os.listdir(sys.argv[1])),
    "mine": writable(sys.argv[1] + "/open/mine/x"), "theirs": writable(sys.argv[1] + "/x"),
    "link": open(sys.argv[1] + "/link/text").read(),
    "new_privileges": open("/proc/self/status").read().count("NoNewPrivs:\\t1"),
}))
"""

    def test_user_reaches_only_needed_paths_of_closed_folder(tmp_path: Path) -> None:
        import json

        closed = tmp_path / "closed"
        for name in ("open/mine", "open/theirs", "hidden", "library"):
            (closed / name).mkdir(parents=True)
        (closed / "library" / "text").write_text("read me")
        (closed / "link").symlink_to("library")
        os.chown(closed / "open" / "mine", 65534, 65534)
        closed.chmod(0o700)
        mounts = Path("/proc/self/mountinfo").read_text()
        argv = sandbox.make_command(
            [sys.executable, "-c", PROBE, str(closed)],
            cwd=str(closed / "open" / "mine"),
            user=(65534, 65534),
            readable_paths=[str(closed / "link"), sys.prefix, sys.base_prefix],
        )
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"}
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "uid": [65534] * 3,
            "groups": [65534],
            "closed": ["library", "link", "open"],
            "mine": True,
            "theirs": False,
            "link": "read me",
            "new_privileges": 1,
        }
        assert closed.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in closed.iterdir()) == [
            "hidden",
            "library",
            "link",
            "open",
        ]
        assert Path("/proc/self/mountinfo").read_text() == mounts

    def test_missing_mount_permission_ends_with_one_line(tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        (closed / "in").mkdir(parents=True)
        closed.chmod(0o700)
        argv = sandbox.make_command(["/bin/true"], cwd=str(closed / "in"), user=(65534, 65534))
        script = f"""
import sys
from storefleet.node.processes import sandbox
sandbox.call_libc = lambda *_: (_ for _ in ()).throw(OSError(1, "Operation not permitted"))
sandbox.main({argv[4:]!r})
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == sandbox.SANDBOX_EXIT_CODE
        assert len(done.stderr.splitlines()) == 1
        assert "is closed to the system user" in done.stderr
        assert "run as a normal user" in done.stderr
