"""Floor 4: proposals, the LGD-3D action scorer on regions, the streaming pipeline from frames to tubes."""
