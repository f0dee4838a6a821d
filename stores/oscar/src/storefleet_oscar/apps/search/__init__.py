"""Oscar's search and product lists, with all products of a page loaded in one query."""
