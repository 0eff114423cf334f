"""Files of any format, and rows of a program, as records: column -> value.

To add a format: a file here; its name in `Format` of data/rows/options.py; its title, suffixes,
detection and call in records.py.
"""
