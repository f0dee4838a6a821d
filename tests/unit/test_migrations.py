"""The migrations of the platform's database."""

import importlib.util
from pathlib import Path

from storefleet.database import migrate

FOLDER = Path(migrate.__file__).parent / "migrations" / "versions"


def test_revisions_are_one_chain_in_order_of_their_numbers() -> None:
    chain: list[str | None] = [None]
    for path in sorted(FOLDER.glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert (path.stem[:4], module.down_revision) == (module.revision, chain[-1]), path.name
        assert path.with_suffix(".sql").exists()
        chain.append(module.revision)
    assert len(chain) > 4
