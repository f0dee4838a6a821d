"""The notifier: sends events to browsers and programs, in order, from where they left off."""
