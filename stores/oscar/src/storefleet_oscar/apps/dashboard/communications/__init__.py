"""Oscar's dashboard of mail templates, with texts that promise no e-mail."""
