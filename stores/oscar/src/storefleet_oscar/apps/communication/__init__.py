"""Oscar's communication application, with mails that no owner's text can break."""
