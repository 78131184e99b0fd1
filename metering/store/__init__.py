"""Package docstring missing."""
