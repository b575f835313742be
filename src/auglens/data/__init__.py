"""Sources, split, statistics, augmentations and epoch order of the images."""
