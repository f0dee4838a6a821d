"""What an account of the platform would try if somebody had taken it over, and what it has to do every day."""
