"""LUT-aware training in PyTorch: layers that train like ordinary layers and compile bit for bit."""

from __future__ import annotations

from .lut import LUTDense, LutTables
from .quantizer import Quantizer
from .resources import Resources, resource_total, resources

__all__ = ["LUTDense", "LutTables", "Quantizer", "Resources", "resource_total", "resources"]
