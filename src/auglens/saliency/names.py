"""Names of the map methods, for the rooms that need no torch: `methods` holds what they stand for."""

OF_LAYER = ("cam", "gradcam", "gradcam++", "scorecam", "xgradcam", "layercam", "eigencam", "hirescam")
# Their maps are as large as the image.
OF_PIXELS = (
    "gradient", "inputxgradient", "guided_backprop", "guided_gradcam", "smoothgrad", "integrated_gradients",
)  # fmt: skip
METHODS = (*OF_LAYER, *OF_PIXELS)
