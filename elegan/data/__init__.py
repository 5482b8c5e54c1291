"""Data: opening images where they lie, preparing them once, and batches of them."""

from __future__ import annotations

from elegan.data.batches import Batches
from elegan.data.cache import cache_folder, clear_cache
from elegan.data.inspection import Report, inspect_data
from elegan.data.opening import open_data
from elegan.data.points import PointData, open_points
from elegan.data.preparation import ImageData, Skipped, prepare
from elegan.data.source import Source

__all__ = [
    "Batches",
    "ImageData",
    "PointData",
    "Report",
    "Skipped",
    "Source",
    "cache_folder",
    "clear_cache",
    "inspect_data",
    "open_data",
    "open_points",
    "prepare",
]
