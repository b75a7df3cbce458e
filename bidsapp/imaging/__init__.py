"""Arrays and affines: transforms, resampling, masks, motion, registration."""
