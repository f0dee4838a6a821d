#!/usr/bin/env -S python3 -SE
"""Stand-in for docker, kind, kubectl, helm, k3s and others; its machine's state is a file.

It records its calls. At a configured number of the calls that change something it exits, or kills
the calling script, before or after the effect.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

State = dict[str, Any]
Effect = Callable[[], Any]
Answer = str | tuple[int, str]
#: The effects of a call in order, and its output.
Act = tuple[list[Effect], Answer]

PLAY = Path(os.environ["STANDIN_PLAY"])
NAME = Path(sys.argv[0]).name
ARGUMENTS = sys.argv[1:]


def main() -> int:
    state = json.loads((PLAY / "state.json").read_text())
    act = ACTS.get(NAME, anything)
    changes, answer = act(state, ARGUMENTS)
    if not changes:
        return reply(answer)
    number = state["changes"] = state["changes"] + 1
    record(number)
    trouble = state.get("trouble") or {}
    mine = trouble.get("at") == number
    if mine and trouble["how"] == "kill-before":
        stop(state)
    if mine and trouble["how"] == "fail":
        save(state)
        print(f"{NAME}: it failed, as it was told", file=sys.stderr)
        return 1
    half = changes if mine and trouble["how"] == "kill-half" else None
    for effect in changes[:1] if half else changes:
        effect()
    if mine:
        stop(state)
    save(state)
    return reply(answer)


def reply(answer: Answer) -> int:
    status, text = answer if isinstance(answer, tuple) else (0, answer)
    print(text, end="" if not text or text.endswith("\n") else "\n")
    return status


def record(number: int) -> None:
    with (PLAY / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"number": number, "call": [NAME, *ARGUMENTS]}) + "\n")


def save(state: State) -> None:
    fresh = PLAY / "state.new"
    fresh.write_text(json.dumps(state))
    fresh.replace(PLAY / "state.json")


def stop(state: State) -> None:
    """End this program and the calling script at once, as a power cut would."""
    save(state)
    os.kill(int(os.environ["STANDIN_SCRIPT"]), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def option(arguments: list[str], name: str, default: str = "") -> str:
    return arguments[arguments.index(name) + 1] if name in arguments else default


def put(state: State, part: str, key: str, value: str) -> Effect:
    return lambda: state[part].__setitem__(key, value)


def drop(state: State, part: str, key: str) -> Effect:
    return lambda: state[part].pop(key, None)


def nothing() -> None:
    pass


def docker(state: State, a: list[str]) -> Act:
    if state["docker"] != "up":
        return [], (1, "")
    if a[0] == "info":
        return [], "Server Version: 29"
    node = a[-1].removesuffix("-control-plane")
    if a[0] == "inspect":
        return [], "true" if state["clusters"].get(node) == "running" else "false"
    if a[0] == "start":
        return [put(state, "clusters", node, "running")], node
    if a[0] == "build":
        return [put(state, "images", option(a, "--tag"), "built")], "sha256:" + "ab" * 32
    return [nothing], ""


def kind(state: State, a: list[str]) -> Act:  # noqa: PLR0911  one for each verb
    name = option(a, "--name", "kind")
    if a[0] == "version":
        return [], f"kind {state['kind_version']} go1.26.4 linux/amd64"
    if a[:2] == ["get", "clusters"]:
        return [], "\n".join(state["clusters"])
    if a[:2] == ["create", "cluster"]:
        if name in state["clusters"]:
            return [], (1, "already exists")
        return [put(state, "clusters", name, "half"), put(state, "clusters", name, "running")], ""
    if a[:2] == ["delete", "cluster"]:
        return [drop(state, "clusters", name), state["releases"].clear], ""
    if a[:2] == ["export", "kubeconfig"]:
        return [lambda: Path(option(a, "--kubeconfig")).write_text(name)], ""
    return [put(state, "loaded", a[-1], name)], ""


def kubectl(state: State, a: list[str]) -> Act:
    if a[0] == "version":
        return [], "Client Version: v1.37.0"
    if "half" in state["clusters"].values():
        return [], (1, "the node is not ready")
    if a[0] == "wait":
        return [], ""
    if a[:2] == ["get", "nodes"]:
        return [], "node/one" if state["k3s"] == "running" or state["clusters"] else (1, "")
    if "--dry-run=client" in a:
        return [], "kind: Secret"
    sent = sys.stdin.read() if "-" in a else ""
    return [lambda: state["applied"].append(sent.strip() or a[-1])], ""


def helm(state: State, a: list[str]) -> Act:
    if a[0] == "version":
        return [], state["helm_version"]
    release = a[2] if a[:2] == ["upgrade", "--install"] else a[1]
    if a[0] == "status":
        found = state["releases"].get(release)
        return [], json.dumps({"name": release, "info": {"status": found}}) if found else (1, "")
    if a[0] == "uninstall":
        return [drop(state, "releases", release)], ""
    if a[0] == "rollback":
        return [put(state, "releases", release, "deployed")], ""
    if "pending" in state["releases"].get(release, ""):
        return [], (1, "another operation (install/upgrade/rollback) is in progress")
    way = "upgrade" if release in state["releases"] else "install"
    return [
        put(state, "releases", release, f"pending-{way}"),
        put(state, "releases", release, "deployed"),
    ], ""


def curl(state: State, a: list[str]) -> Act:
    served = Path(state["served"]) / a[-1].rpartition("/")[2].replace("%2B", "+")
    if not served.exists():
        return [], (22, "404")
    content = b"something else" if state.get("forged") in a[-1:] else served.read_bytes()
    half = content[: len(content) // 2]
    target = Path(option(a, "--output"))
    return [lambda: target.write_bytes(half), lambda: target.write_bytes(content)], ""


def k3s(state: State, a: list[str]) -> Act:
    if a[0] == "--version":
        return [], "k3s version v1.30.0+k3s1 (abc)"
    return [put(state, "loaded", a[-1], "k3s")], ""


def sh(state: State, a: list[str]) -> Act:
    """Stand in for the k3s installer; pass other scripts to the real shell."""
    if not a or not a[0].endswith("k3s-install.sh"):
        os.execv("/bin/sh", ["sh", *a])  # noqa: S606  it is the shell
    return [
        lambda: state.__setitem__("k3s", "half"),
        lambda: state.__setitem__("k3s", "running"),
    ], ""


def getent(state: State, a: list[str]) -> Act:
    found = state["names"].get(a[-1])
    return [], f"{found}      STREAM {a[-1]}" if found else (2, "")


def ip(state: State, a: list[str]) -> Act:
    return [], "192.0.2.1 via 192.0.2.254 dev eth0 src 198.51.100.7 uid 0"


def anything(state: State, a: list[str]) -> Act:
    return [nothing], ""


ACTS = {each.__name__: each for each in (docker, kind, kubectl, helm, curl, k3s, sh, getent, ip)}

if __name__ == "__main__":
    sys.exit(main())
