"""What was promised and desired for a day against what happened on it: the document, the comparisons, the words."""
