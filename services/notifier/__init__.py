"""Tells browsers what happened, in order, from where they left off."""
