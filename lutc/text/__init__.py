"""The text form: read, checked for its shape, printed and formatted."""
