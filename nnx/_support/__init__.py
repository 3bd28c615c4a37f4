"""Helpers that all parts of nnx share and no user needs: checks, files, array conversion, buffers, figures, results."""
