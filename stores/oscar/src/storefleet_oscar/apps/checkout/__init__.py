"""Oscar's checkout with cash on delivery as its only payment method."""
