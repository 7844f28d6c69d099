"""Floor 1: detections, tubes and annotations as records, box geometry, linking, trimming and tube files."""
