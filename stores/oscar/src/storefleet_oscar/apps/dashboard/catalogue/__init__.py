"""Oscar's dashboard of the catalogue, with a limit on the size of pictures."""
