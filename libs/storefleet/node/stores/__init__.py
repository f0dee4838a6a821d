"""Prepare engine environments and templates, and run the stores' processes."""
