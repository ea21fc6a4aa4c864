"""How a task runs in an image: resources, accelerators, engines, the worker in the image."""
