"""The read side: what segmentation has said, recorded, listed and counted by a follower of its own output."""
