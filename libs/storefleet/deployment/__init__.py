"""What a deployment needs besides the four services: servers, secrets, set-up, checks, backups.

The pods of `charts/platform` and the containers of `docker-compose.yml` run it with
`storefleet platform …`.
"""
