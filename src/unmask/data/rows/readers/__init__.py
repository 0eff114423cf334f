"""Files of any format, and rows of a program, as records: column -> value."""
