"""Telling other systems what happened in a project: signed, retried, logged, and to public addresses only."""
