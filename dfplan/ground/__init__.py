"""Errors, files, devices, processes and the command line. Every other package may use them; they use none of dfplan."""
