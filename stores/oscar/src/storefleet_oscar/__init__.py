"""A django-oscar shop as one store: `python -m storefleet_oscar template|serve`, configured by STORE_CONFIG."""
