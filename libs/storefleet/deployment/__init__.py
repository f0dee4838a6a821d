"""What a deployment runs besides the four services: its servers, its secrets, its set-up.

The pods of `charts/platform` and the containers of `docker-compose.yml` call it by `storefleet platform …`.
"""
