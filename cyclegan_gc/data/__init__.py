"""Training samples: cases and their subjects, the cache, random planes through prepared volumes, grey values."""
