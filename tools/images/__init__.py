"""Container images without a container engine: Debian's packages and locked wheels, written as OCI archives."""
