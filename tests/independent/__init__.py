"""A second implementation of the language, written from ir_spec/ alone: plain, slow and exact.

Nothing here imports lutc. What the two disagree about is a mistake of one of them, or a hole in the specification.
"""
