"""The adapter to PostgreSQL: a connection pool, one repository per noun, and the migrations.

No other package contains SQL of the platform's schema. `Database` yields `Repositories`.
"""
