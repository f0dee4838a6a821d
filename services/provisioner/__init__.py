"""Makes the world match a store's row."""
