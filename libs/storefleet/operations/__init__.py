"""Run operations: claim them under a lease, execute their steps, record every transition."""
