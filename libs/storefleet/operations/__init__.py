"""Run operations: claim them under a lease, run their steps, record every transition.

`worker.py` receives commands, `run.py` runs one claim, `recorder.py` writes. Which transition it
is, `core/lifecycle.py` decides.
"""
