r"""JSON for readers of YAML: Helm's values, and objects for server-side apply.

YAML 1.2 contains JSON, but the readers of Go do not accept all of it: they reject the surrogate
pairs with which JSON's escapes write characters beyond U+FFFF (`\ud83d\udecd`), and reject or
change some characters that are written as they are.
"""

import json
import re
from typing import Any

#: DEL and C1 controls (YAML rejects them, U+0085 is a line break), line separators, the byte order
#: mark, lone surrogates, and U+FFFE and U+FFFF.
_NOT_LITERAL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def encode_for_yaml(value: Any) -> bytes:
    """Encode a JSON value as UTF-8 so that a reader of YAML returns the same value.

    Args:
        value: A JSON value.

    Returns:
        Valid JSON that is valid YAML, unless a text has a lone surrogate, which YAML cannot hold.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_LITERAL.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
