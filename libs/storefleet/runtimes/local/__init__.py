"""The local runtime: stores as processes on one machine, without isolation.

`runtime` implements the protocol; `create_steps` and `delete_steps` contain the steps. They write
files, databases and the desired state of a placement. The local node (`storefleet up`) runs the
processes and writes the observed state.
"""
