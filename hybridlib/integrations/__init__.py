"""The evaluation inside other tools."""
