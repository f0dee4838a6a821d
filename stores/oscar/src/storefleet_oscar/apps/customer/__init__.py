"""Oscar's customer application, with texts that promise no e-mail."""
