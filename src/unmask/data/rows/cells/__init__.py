"""Steps that make records of records, before examples are made of them.

lists.py       cells that hold lists as text become lists
sentences.py   sentences in two cells become lists of tokens and of tags
onehot.py      labels as 0 and 1 get their names
missing.py     rows whose label is missing go
pairs.py       words and flags of pairs become scores
"""
