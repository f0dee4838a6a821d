"""The platform's vocabulary and rules: errors, identifiers, models, messages, settings.

Nothing here does I/O, except that settings are read from the environment.
"""
