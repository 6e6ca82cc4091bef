"""Training samples: cases and their subjects, the slice cache, unpaired and paired slices, augmentation."""
