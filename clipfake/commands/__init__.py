"""The commands, a file a topic: each a few lines over the package. Only here is anything printed."""
