"""A store's Helm release: install it, read its records, clean up what a failed attempt left."""
