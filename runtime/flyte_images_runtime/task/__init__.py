"""All that an engine needs for one run, and the exchange directory in which call and result travel."""
