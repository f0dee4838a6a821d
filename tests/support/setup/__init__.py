"""Stand-ins and programs for the tests of the set-up scripts."""
