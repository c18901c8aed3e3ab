"""Celery workers: claim a shard, run the engine, commit under a fence."""
