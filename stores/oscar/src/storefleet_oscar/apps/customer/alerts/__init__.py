"""Oscar's stock alerts, with texts that promise no e-mail."""
