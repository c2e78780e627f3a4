"""What touches the MRML scene and Qt: nodes, the panel's controllers, installation."""
