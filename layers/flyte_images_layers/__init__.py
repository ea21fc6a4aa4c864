"""What can go into an image: one file a layer kind. Pure: reads nothing, dials nothing."""
