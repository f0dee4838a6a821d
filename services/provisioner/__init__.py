"""The provisioner: creates stores and changes their engine versions."""
