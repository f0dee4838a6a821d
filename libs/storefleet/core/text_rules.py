"""The rules for texts that people type and read again: titles, names of tokens and tenants.

A text is stored and shown as it was sent, without Unicode normalization: it is never compared with
another text, and engines, pages and mails must show what its author typed. What could not be shown
everywhere, or would deceive its readers, is refused here, before anything is written.
"""

import unicodedata

import regex

TITLE_MAX_CHARACTERS = 60
TITLE_MAX_CODE_POINTS = 240

_GRAPHEME_CLUSTER = regex.compile(r"\X")
#: C0 and C1 controls, DEL. YAML and HTML reject or change most of them.
_CONTROL = regex.compile(r"\p{Cc}")
_CONTROL_BUT_LINES = regex.compile(r"[\p{Cc}--\t\n\r]", regex.V1)
#: Explicit directional embeddings, overrides and isolates (UAX #9, section 2). Their effect reaches
#: beyond the text: a name could reverse the rest of a page or of a terminal's line. The marks
#: U+200E and U+200F have no such effect and are allowed.
_DIRECTION = regex.compile(r"[\u202a-\u202e\u2066-\u2069]")
_LINE_SEPARATOR = regex.compile(r"[\u2028\u2029]")
#: Lone surrogates and the 66 code points that never are characters; YAML rejects some of them.
_NO_CHARACTER = regex.compile(r"[\p{Cs}\p{Noncharacter_Code_Point}]")
#: Neither blank nor a mark alone. U+2800 (Braille) and U+1D159 (music) are symbols without ink.
_VISIBLE = regex.compile(
    r"[^\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800\U0001d159]"
)


def find_text_problem(text: str) -> str | None:
    """Find the rule that any text, which may have several lines, violates.

    Args:
        text: The text.

    Returns:
        The end of a sentence about the text, such as “must not have control characters: …”; None
        if the text is valid.
    """
    if match := _CONTROL_BUT_LINES.search(text):
        return f"must not have control characters: {_describe(text, match.start())}"
    if match := _DIRECTION.search(text):
        return (
            "must not have characters that change the writing direction of what follows:"
            f" {_describe(text, match.start())}"
        )
    if match := _NO_CHARACTER.search(text):
        return f"must have valid characters only: {_describe(text, match.start())}"
    return None


def find_line_problem(
    text: str,
    *,
    max_characters: int = TITLE_MAX_CHARACTERS,
    max_code_points: int = TITLE_MAX_CODE_POINTS,
) -> str | None:
    """Find the rule that a text of one line, such as a title, violates.

    Args:
        text: The text.
        max_characters: The maximum number of characters as people count them: extended grapheme
            clusters (UAX #29), so that 👩‍🍳 is one.
        max_code_points: The maximum number of code points, which bounds the marks on a character.

    Returns:
        The end of a sentence about the text, such as “must have at most 60 characters”; None if the
        text is valid.
    """
    if len(text) > max_code_points:
        is_many = _count_graphemes(text[: max_code_points + 1]) > max_characters
        return (
            f"must have at most {max_characters} characters"
            if is_many
            else f"must have at most {max_code_points} Unicode code points: some of its characters"
            " consist of many"
        )
    if match := _CONTROL.search(text) or _LINE_SEPARATOR.search(text):
        return f"must be one line without control characters: {_describe(text, match.start())}"
    if problem := find_text_problem(text):
        return problem
    if not _VISIBLE.search(text):
        return "must have a visible character: it is blank"
    if _count_graphemes(text) > max_characters:
        return f"must have at most {max_characters} characters"
    return None


def _count_graphemes(text: str) -> int:
    return sum(1 for _ in _GRAPHEME_CLUSTER.finditer(text))


def _describe(text: str, index: int) -> str:
    """Name a character that cannot be shown by its position, number and Unicode name."""
    code = ord(text[index])
    name = unicodedata.name(text[index], "").lower()
    return f"character {index + 1} is U+{code:04X}{f' ({name})' if name else ''}"
