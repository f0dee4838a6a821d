"""Oscar's dashboard, with a page that opens and closes the storefront."""
