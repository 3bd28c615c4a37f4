"""What every room uses and no user needs to know: checks, files, arrays at the door, buffers, figures, results."""
