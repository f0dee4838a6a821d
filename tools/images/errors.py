"""Errors that stop an image build or leave one image out of it."""


class BuildError(Exception):
    """A build cannot continue; the message says what happened and what to do."""


class MaterialMissing(Exception):
    """An image is skipped: its source has not been given; the message says how to give it."""
