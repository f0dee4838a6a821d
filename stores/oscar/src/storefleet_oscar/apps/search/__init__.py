"""Search and browsing, with the goods of a page read at once."""
