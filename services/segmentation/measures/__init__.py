"""A customer's record and what is measured over it: facts laid out, windows, streams, scores, money. Pure."""
