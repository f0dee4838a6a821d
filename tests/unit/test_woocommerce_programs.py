"""The WooCommerce store's PHP: syntax of every file, and behaviour that needs no WordPress."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents.sources import ROOT

STORE_SOURCE = ROOT / "stores" / "woocommerce"
FILES = sorted(STORE_SOURCE.rglob("*.php"))


def run_php(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("php")
    assert program, "These tests need PHP 8.2 or newer. Run `make php`."
    environment = {"PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(
        [program, "-n", *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_code(code: str, *parts: str, **variables: str) -> Any:
    """Run PHP code with parts of the library loaded and return its JSON output."""
    wanted = "".join(f"require '{STORE_SOURCE}/shop/lib/{part}.php';" for part in parts)
    done = run_php(stdin=f"<?php namespace Storefleet; {wanted} {code}", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_php_files_have_valid_syntax() -> None:
    assert len(FILES) > 30
    done = [(path, run_php("-l", str(path))) for path in FILES]
    assert [
        (path.name, each.stdout + each.stderr) for path, each in done if each.returncode != 0
    ] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(STORE_SOURCE)))
def test_php_file_has_docblock_and_less_than_300_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<?php\n/**")
    assert len(text.splitlines()) < 300


def write_configuration(folder: Path, **content: Any) -> str:
    path = folder / "store.json"
    usual = {"url": "http://acme.shops.example.com/", "host": "acme.shops.example.com"}
    path.write_text(json.dumps({**usual, **content}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ({}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "acme.shops.example.com"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "Other.Shops.Example.com"}, "http://other.shops.example.com"),
        ({"HTTP_HOST": "other.shops.example.com:8080"}, "http://other.shops.example.com:8080"),
        ({"HTTP_HOST": "evil.example.com"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "a.b.shops.example.com"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "shops.example.com"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "acmexshops.example.com"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "x.shops.example.com\n"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "x.shops.example.com/@evil.com"}, "http://acme.shops.example.com"),
        ({"HTTP_HOST": "-x.shops.example.com"}, "http://acme.shops.example.com"),
        ({"HTTP_X_FORWARDED_PROTO": "https"}, "https://acme.shops.example.com"),
        ({"HTTP_X_FORWARDED_PROTO": "gopher"}, "http://acme.shops.example.com"),
    ],
)
def test_address_follows_acceptable_host_header_only(
    tmp_path: Path, server: dict[str, str], address: str
) -> None:
    code = (
        "echo json_encode(Address::resolve(Configuration::load(), "
        f"json_decode('{json.dumps(server)}', true)));"
    )
    assert (
        run_code(code, "configuration", "address", STORE_CONFIG=write_configuration(tmp_path))
        == address
    )


def test_address_keeps_configured_scheme_and_port(tmp_path: Path) -> None:
    at = write_configuration(tmp_path, url="https://acme.localhost:8443/", host="acme.localhost")
    code = "echo json_encode(Address::resolve(Configuration::load(), ['HTTP_HOST' => 'web']));"
    assert (
        run_code(code, "configuration", "address", STORE_CONFIG=at) == "https://acme.localhost:8443"
    )


def test_invalid_configuration_is_reported(tmp_path: Path) -> None:
    tell = "try { %s } catch (PermanentError $error) { echo json_encode($error->getMessage()); }"
    broken = tmp_path / "broken.json"
    broken.write_text("[")
    assert "not a JSON object" in run_code(
        tell % "Configuration::load();", "configuration", STORE_CONFIG=str(broken)
    )
    at = write_configuration(tmp_path, secret_file=str(tmp_path / "none"))
    assert "no text “name”" in run_code(
        tell % "Configuration::load()->get_text('name');", "configuration", STORE_CONFIG=at
    )
    told = run_code(
        tell % "Configuration::load()->read_secret('secret_file');",
        "configuration",
        STORE_CONFIG=at,
    )
    assert "missing, empty or not readable" in told


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "x" * 101])
def test_invalid_dump_name_is_rejected(name: str) -> None:
    code = (
        "try { echo json_encode(Task::get_dump_name()); } catch (PermanentError) { echo 'null'; }"
    )
    assert run_code(code, "configuration", "termination", "task", STOREFLEET_DUMP=name) is None


def test_since_is_converted_to_utc_in_database_format() -> None:
    code = "echo json_encode(Task::get_since());"
    since = run_code(
        code, "configuration", "termination", "task", STOREFLEET_SINCE="2026-11-25T12:00:00.5+02:00"
    )
    assert since == "2026-11-25 10:00:00"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("$termination->succeed();", 0),
        ("exit(0);", 1),
        ("throw new PermanentError('m');", 2),
        ("throw new \\Exception('e');", 1),
    ],
)
def test_exit_status_is_zero_only_after_succeed(tmp_path: Path, end: str, status: int) -> None:
    wanted = "".join(
        f"require '{STORE_SOURCE}/shop/lib/{part}.php';"
        for part in ("configuration", "database", "termination")
    )
    program = tmp_path / "program.php"
    program.write_text(
        f"<?php namespace Storefleet; {wanted} $termination = Termination::watch('test'); {end}",
        encoding="utf-8",
    )
    done = run_php(str(program))
    assert done.returncode == status, done.stderr
    assert ("test:" in done.stderr) is (status != 0)


def test_unknown_command_lists_commands() -> None:
    done = run_php(str(STORE_SOURCE / "shop" / "store.php"), "reboot")
    assert done.returncode == 2
    assert "bake, compile, database, dump" in done.stderr


def test_sample_products_are_complete() -> None:
    goods = json.loads((STORE_SOURCE / "goods" / "goods.json").read_text(encoding="utf-8"))
    assert len(goods) == 6
    for field in ("sku", "slug", "name", "picture"):
        assert len({good[field] for good in goods}) == 6
    for good in goods:
        assert (STORE_SOURCE / "goods" / good["picture"]).read_bytes().startswith(b"\xff\xd8")
        assert (STORE_SOURCE / "goods" / good["picture"]).with_suffix(".svg").is_file()
    assert "Stoneware Mug" in {good["name"] for good in goods}


def test_second_theme_revision_only_replaces_files_of_first() -> None:
    first, second = (
        {p.relative_to(STORE_SOURCE / n) for p in (STORE_SOURCE / n).rglob("*") if p.is_file()}
        for n in ("theme", "theme-2")
    )
    assert second
    assert second <= first
    assert all(
        (STORE_SOURCE / "theme" / path).read_bytes()
        != (STORE_SOURCE / "theme-2" / path).read_bytes()
        for path in second
    )
