"""A django-oscar shop as one store: `python -m storefleet_oscar template|serve`, everything about it read from STORE_CONFIG."""
