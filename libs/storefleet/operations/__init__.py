"""Run operations: claim them under a lease, run their steps, record every transition.

`worker.py` receives commands, `run.py` runs one claim, `recorder.py` and `interruptions.py` write
its transitions. `core/lifecycle.py` decides which transition follows.
"""
