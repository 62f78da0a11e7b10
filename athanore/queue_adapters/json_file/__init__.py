"""A board in one JSON file."""

from athanore.queue_adapters.json_file.adapter import JsonFileAdapter

__all__ = ["JsonFileAdapter"]
