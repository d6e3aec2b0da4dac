"""What editors ask of a text while it is written: `page` answers, `server` speaks their protocol."""
