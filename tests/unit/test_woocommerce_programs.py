"""The WooCommerce store's PHP: syntax of every file, and behaviour that needs no WordPress."""

import base64
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
        ("missing_function();", 1),
        ("$termination->retry_unless(fn () => true); throw new \\Exception('e');", 1),
        ("$termination->retry_unless(fn () => true); missing_function();", 2),
        ("$termination->retry_unless(fn () => false); missing_function();", 1),
        ("$termination->retry_unless(fn () => true); require '{folder}/broken.php';", 2),
        ("$termination->retry_unless(fn () => true); require '{folder}/missing.php';", 2),
        ("$termination->retry_unless(fn () => true); throw new ReleaseError('r');", 2),
        ("$termination->retry_unless(fn () => false); throw new ReleaseError('r');", 1),
        ("$termination->retry_unless(fn () => true); exit(0);", 1),
    ],
)
def test_exit_status_is_two_only_for_errors_that_a_retry_repeats(
    tmp_path: Path, end: str, status: int
) -> None:
    wanted = "".join(
        f"require '{STORE_SOURCE}/shop/lib/{part}.php';"
        for part in ("configuration", "database", "termination")
    )
    (tmp_path / "broken.php").write_text("<?php class {", encoding="utf-8")
    program = tmp_path / "program.php"
    program.write_text(
        f"<?php namespace Storefleet; {wanted} $termination = Termination::watch('test');"
        f" {end.replace('{folder}', str(tmp_path))}",
        encoding="utf-8",
    )
    done = run_php(str(program))
    assert done.returncode == status, done.stderr
    assert ("test:" in done.stderr) is (status != 0)


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "update"),
        ({"STORE_SETUP_MODE": "install"}, "install"),
        ({"STORE_SETUP_MODE": "x"}, "update"),
    ],
)
def test_setup_mode_is_update_unless_the_platform_says_install(
    variables: dict[str, str], mode: str
) -> None:
    assert run_code("echo json_encode(SetupMode::read());", "setup-mode", **variables) == mode


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("", ""),
        ("http://template.localhost/shop/", "https://acme.example.com:8443/shop/"),
        (
            '{"u":"http:\\/\\/template.localhost\\/x"}',
            '{"u":"https:\\/\\/acme.example.com:8443\\/x"}',
        ),
        ('a:1:{s:1:"h";s:18:"template.localhost";}', 'a:1:{s:1:"h";s:16:"acme.example.com";}'),
        # A serialized text within a serialized text, and one with quotation marks and semicolons.
        (
            's:36:"a:1:{i:0;s:18:"template.localhost";}";',
            's:34:"a:1:{i:0;s:16:"acme.example.com";}";',
        ),
        (
            's:9:"template.localhost";',
            's:9:"acme.example.com";',
        ),  # no serialized text: wrong length
        ('s:25:"";s:9:"template.localhost";', 's:23:"";s:9:"acme.example.com";'),
        (
            'O:1:"A":2:{s:4:"\0*\0t";i:1000000010;s:1:"n";N;}',
            'O:1:"A":2:{s:4:"\0*\0t";i:1000005010;s:1:"n";N;}',
        ),
        ("8.0.1000000000", "8.0.1000005000"),
        (
            "999999999 1000099999 1000000000a x1000000000",
            "999999999 1000104999 1000000000a x1000000000",
        ),
        ("2001-09-09 01:46:41 2001-09-09T01:46:41Z", "2001-09-09 03:10:01 2001-09-09T03:10:01Z"),
        ("2001-09-08 01:46:41", "2001-09-08 01:46:41"),
        ("Größe 🛍 äöü", "Größe 🛍 äöü"),
    ],
)
def test_template_text_is_rewritten_with_its_lengths(text: str, rewritten: str) -> None:
    names = {
        "http:\\/\\/template.localhost": "https:\\/\\/acme.example.com:8443",
        "http://template.localhost": "https://acme.example.com:8443",
        "template.localhost": "acme.example.com",
    }
    code = (
        f"$names = json_decode(base64_decode('{_encode(names)}'), true);"
        f"$text = json_decode(base64_decode('{_encode(text)}'));"
        "$rewriter = new TemplateText($names, 1000000000, 1000100000, 5000);"
        "echo json_encode($rewriter->rewrite($text));"
    )
    assert run_code(code, "template-text") == rewritten


def _encode(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


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
