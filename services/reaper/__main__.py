"""Start the reaper: `python -m services.reaper`."""

from services.reaper.app import main

main()
