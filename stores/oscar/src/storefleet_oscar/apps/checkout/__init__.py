"""The checkout with cash on delivery as its way to pay."""
