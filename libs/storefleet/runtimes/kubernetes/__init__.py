"""The Kubernetes runtime: one namespace and one Helm release per store.

`runtime` implements the runtime protocol and is the only module that other packages import. Its
steps are in `create_steps`, `version_steps`, `database_steps` and `delete_steps`. Below them:
`namespace_setup` and `manifests` (what exists before the Helm release), `releases` (Helm),
`readiness` (is the store ready, and if not, why), `tasks` (dump, restore, order count as Jobs) and
`api` (the client of the Kubernetes API).
"""
