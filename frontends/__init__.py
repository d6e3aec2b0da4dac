"""Importers, installed as ``lutc.frontends``."""
