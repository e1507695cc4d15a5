"""What every connector stands on: errors, settings, the source's interface, publishing, letters, cursors, time."""
