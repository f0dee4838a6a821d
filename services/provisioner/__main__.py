"""Start the provisioner: `python -m services.provisioner`."""

from services.provisioner.app import main

main()
