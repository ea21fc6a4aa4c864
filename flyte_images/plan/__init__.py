"""Image + Lock -> Plan -> llb.State. Pure."""
