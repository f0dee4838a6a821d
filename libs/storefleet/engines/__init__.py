"""Engines: what `charts/<engine>/engine.yaml` describes, and the catalogue of those on offer.

`descriptor` models one engine, `plans` and `parameters` the choices that a store of it has,
`catalogue` reads them all and decides which a new store can have.
"""
