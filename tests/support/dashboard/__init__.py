"""Sample data and rendered pages of the dashboard."""
