"""The models of Oscar's shipping application, unchanged."""

from oscar.apps.shipping.models import *  # noqa: F403 - a fork re-exports its application's models
