"""Fixtures of the tests of the engine's commands."""

from zdtm.tests.killing import reaper
from zdtm.tests.tasks import criu, dumped, images, quiet, task

__all__ = ["criu", "dumped", "images", "quiet", "reaper", "task"]
