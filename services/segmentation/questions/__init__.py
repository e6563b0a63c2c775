"""Questions to the whole log, asked of one partition after the other in processes of their own; they touch nothing live."""
