"""A shop with one page and one product."""
