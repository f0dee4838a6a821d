"""The cluster's programs: compiled from pinned sources, from wheels, or from Debian packages."""
