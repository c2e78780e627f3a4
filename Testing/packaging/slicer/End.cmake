# Slicer makes the extension package here.
