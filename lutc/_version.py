"""The one place that states lutc's version; pyproject.toml and the reports read it."""

__version__ = "0.2.0.dev0"
