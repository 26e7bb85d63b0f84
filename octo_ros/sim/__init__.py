"""A simulated arm at a table, tasks for it and a scripted expert. Needs the extra `sim`."""
