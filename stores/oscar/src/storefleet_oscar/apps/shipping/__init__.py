"""Oscar's shipping with one flat-rate method."""
