"""Entry point of `python -m services.reaper`."""

from services.reaper.app import main

main()
