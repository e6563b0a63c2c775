"""The four services. They import nothing of each other; they meet in the events of `shared.events`."""
