"""Texts to pretrain on (`corpus`), labelled rows (`rows`), public data (`public`), and the encoded form of all."""
