"""Emitters: what turns ``lutc.netlist`` modules into files a person and a tool can read."""
