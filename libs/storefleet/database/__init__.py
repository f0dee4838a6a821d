"""The door to PostgreSQL: a pool, the queries by noun, the migrations. Nothing else of the platform speaks SQL."""
