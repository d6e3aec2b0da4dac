"""Emitters: what turns ``lutc.rtl.nets`` modules into files a person and a tool can read."""
