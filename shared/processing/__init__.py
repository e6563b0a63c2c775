"""The engine: ordered events in, decisions of a pure domain, one write per customer and batch, numbered events out."""
