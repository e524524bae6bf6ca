"""Can the label be told from anything but the picture? Shortcuts, content, and duplicates of a data set."""
