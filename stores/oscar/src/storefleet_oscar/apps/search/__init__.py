"""Oscar's search and product lists, answered by PostgreSQL."""
