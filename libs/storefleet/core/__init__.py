"""The platform's vocabulary and rules: errors, identifiers, models, lifecycle, messages, settings. No I/O."""
