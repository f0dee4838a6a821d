"""The models of Oscar's customer application, unchanged."""

from oscar.apps.customer.models import *  # noqa: F403 - a fork re-exports its application's models
