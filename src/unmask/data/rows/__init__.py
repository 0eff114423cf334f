"""Labelled and unlabelled rows: files of any format to records, and records to examples."""
