"""Decide whether a store is ready, still starting or failing, from what the cluster reports."""
