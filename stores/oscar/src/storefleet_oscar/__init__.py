"""A django-oscar store, configured by the JSON file that STORE_CONFIG names.

Run `python -m storefleet_oscar template|serve`; `__main__` lists the commands for containers.
"""
