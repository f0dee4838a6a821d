"""The notifier: sends events to browsers and programs, in order, after the last one received."""
