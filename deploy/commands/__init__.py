"""The commands of `guanxi`, one file per thing that an operator has in mind."""
