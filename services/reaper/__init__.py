"""Takes stores away, and sends again what nobody works on."""
