"""The node: namespaces, processes, network link, volumes, certificates and configuration."""
