"""The specification of the IR, installed as ``lutc.ir_spec``: grammar, chapters and examples."""
