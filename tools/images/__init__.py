"""Build container images from Debian packages and locked Python and npm packages.

The images are written as OCI archives; neither a container engine nor a registry is needed.
tools/docker-images builds the same content with Docker.
"""
