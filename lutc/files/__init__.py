"""Files: written whole or not at all, read within limits, and the folder that a build is."""
