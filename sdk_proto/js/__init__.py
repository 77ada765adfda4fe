"""The JavaScript client as package data: `importlib.resources.files("sdk_proto.js")` finds its files. No Python in here."""
