"""Steps that make records of records, before examples are made of them: cells that hold lists as text become lists
(lists.py), labels as 0 and 1 get their names (onehot.py), rows whose label is missing go (missing.py), words and flags
of pairs become scores (pairs.py)."""
