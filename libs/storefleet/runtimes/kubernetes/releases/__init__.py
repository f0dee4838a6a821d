"""Install and upgrade a store's Helm release."""
