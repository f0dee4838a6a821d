"""Titles that are valid and hard to carry, titles that are refused, and a strategy for the rest."""

from hypothesis import strategies as st

from storefleet.core.text_rules import find_line_problem

#: Each reaches pages, mails, logs and terminals as it is.
HARD_TITLES = (
    "Corner Goods",
    "🛍 Shop",
    "👩‍🍳 Küche 🏳️‍🌈 🇬🇧 👍🏽",
    "می‌خواهم",
    "مرحبا بالعالم",
    "\u200fשלום\u200e a",  # noqa: RUF001 - Hebrew
    "日本語のお店",
    "a\"b'c\\d`e",
    "<script>alert(1)</script> & &amp; &#39;",
    "{{ .Values.secret }} {% raw %} ${HOME} $(id) $$ %s %(x)s",
    "# not a comment",
    "a: b",
    "- item",
    "* anchor",
    "& alias",
    "! tag",
    "@ sign | pipe > fold %",
    "yes",
    "null",
    "~",
    "0",
    "1e9",
    "0x1f",
    "12:30:45",
    "2001-01-01",
    "---",
    "=1+1",
    "'; DROP TABLE stores; --",
    "no\u00a0break\u3000wide",
    "soft\u00adhyphen word\u2060joiner \ufeffmark",
    "e\u0301 " + "o" + "\u0308" * 100,
    "नमस्ते क्षि",
    "\U0001d49c \U0001f600 \U000e0100 \U0010fffd",
    "  two  spaces  ",
    "x" * 60,
    "👩‍🍳" * 60,
)
#: One title with most of the difficulties, for tests of real stores.
STORE_TITLE = "👩‍🍳 Ann & Bob's <Box>: {{ .id }} $(id) می‌خواهم -- “x” \\ &amp;"
#: Each with the beginning of the sentence that refuses it.
REFUSED_TITLES = (
    ("", "must have a visible character"),
    ("   ", "must have a visible character"),
    ("\u200b", "must have a visible character"),
    ("\u200c\u200d", "must have a visible character"),
    ("\u2060\ufeff", "must have a visible character"),
    ("\u00ad", "must have a visible character"),
    ("\u3164", "must have a visible character"),
    ("\u115f\u1160\uffa0", "must have a visible character"),
    ("\u2800", "must have a visible character"),
    ("\u00a0\u3000", "must have a visible character"),
    ("\ufe0f", "must have a visible character"),
    ("\u180e", "must have a visible character"),
    ("\u034f", "must have a visible character"),
    ("\U000e0041", "must have a visible character"),
    ("a\u202eb", "must not have characters that change the writing direction"),
    *((f"a{chr(code)}", "must not have characters that change") for code in range(0x202A, 0x202F)),
    *((f"a{chr(code)}", "must not have characters that change") for code in range(0x2066, 0x206A)),
    ("a\nb", "must be one line without control characters: character 2 is U+000A"),
    ("a\tb", "must be one line without control characters"),
    ("a\0b", "must be one line without control characters"),
    ("\x1b[31mred", "must be one line without control characters: character 1 is U+001B"),
    ("a\x7f", "must be one line without control characters"),
    ("a\u0085b", "must be one line without control characters"),
    ("a\u2028b", "must be one line without control characters: character 2 is U+2028 (line sep"),
    ("a\u2029b", "must be one line without control characters"),
    ("a\ufffe", "must have valid characters only: character 2 is U+FFFE"),
    ("a\U0001ffff", "must have valid characters only"),
    ("a\ud800", "must have valid characters only"),
    ("x" * 61, "must have at most 60 characters"),
    ("👩‍🍳" * 61, "must have at most 60 characters"),
    ("x" * 1000, "must have at most 60 characters"),
    ("a" + "\u0301" * 240, "must have at most 240 Unicode code points"),
)


def make_titles() -> st.SearchStrategy[str]:
    """Make a strategy of valid titles: any characters, and pieces of the hard ones."""
    pieces = st.sampled_from(
        [piece for title in HARD_TITLES for piece in title.split(" ") if piece]
    )
    any_text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
    mixed = st.lists(st.one_of(pieces, any_text), min_size=1, max_size=5).map(" ".join)
    return mixed.filter(lambda title: find_line_problem(title) is None)
