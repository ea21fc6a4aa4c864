"""Where containers run: one package for each engine."""
