"""The platform's four processes: gateway, provisioner, reaper and notifier."""
