"""Saved views: what the workbench shows, under a name."""
