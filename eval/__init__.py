"""Floor 2: video-mAP, frame-mAP and plots of tubes; knows nothing of networks (no torch)."""
