"""SAM2.1's image encoder as a backbone; its modules need the package `sam2`."""
