"""The locales that CLDR knows, looked up once each. Pure."""

from functools import lru_cache

from babel import Locale, UnknownLocaleError


def is_locale(name: str) -> bool:
    """Whether CLDR has this locale: `en`, `de-BE`, `pt_BR`."""
    try:
        return bool(cldr(name))
    except (UnknownLocaleError, ValueError):
        return False


@lru_cache(maxsize=64)
def cldr(name: str) -> Locale:
    """Looks a locale up in CLDR; raises UnknownLocaleError or ValueError."""
    return Locale.parse(name.replace("-", "_"))
