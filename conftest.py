"""The suite's plugin is on wherever pytest is started in this checkout."""

pytest_plugins = ["zdtm.plugin", "zdtm.fixtures"]
