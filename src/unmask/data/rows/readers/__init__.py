"""Files of any format, and rows of a program, as records: column -> value. Parquet is in memory.py.

To add a format: a file here; its name in `Format` of data/rows/options.py; its title, suffixes,
detection and call in records.py. Output formats of `unmask predict` are in runtime/formats.py.
"""
