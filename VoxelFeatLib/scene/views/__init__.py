"""What views show and what the mouse does in them."""
