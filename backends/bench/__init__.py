"""The bench of a build folder. These files are copied there; they need cocotb and a simulator, not lutc."""
