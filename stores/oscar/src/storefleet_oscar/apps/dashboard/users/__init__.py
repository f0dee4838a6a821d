"""Oscar's dashboard of users, with texts that promise no e-mail."""
