"""The language of the rules: text to models to a compiled program. Pure; knows nothing of customers but what `measures` gives."""
