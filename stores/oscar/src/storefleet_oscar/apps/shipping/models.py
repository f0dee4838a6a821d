from oscar.apps.shipping.models import *  # noqa: F403 - a fork takes its application's models over
