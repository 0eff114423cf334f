"""Training: recipes (recipe.py), both kinds of run (pretrain.py, finetune.py), their trainer and its loop.

An optimiser is added in optim.py, a schedule in schedules.py above this folder.
"""
